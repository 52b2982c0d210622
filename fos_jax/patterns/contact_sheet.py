"""Groups of cut-outs as rows of small pictures on one image."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from fos_jax.images import prepare_cutout

_LABEL_PX = 190
_GAP_PX = 2


def contact_sheet(
    rows: Sequence[tuple[str, Sequence[np.ndarray]]], *, side_px: int = 64, columns: int = 16
) -> np.ndarray:
    """One row a group.

    Args:
      rows: label (its lines separated by newlines) and RGBA cut-outs, uint8 [h, w, 4], of each group; what goes beyond
        `columns` is left out.
      side_px: side of each picture.
      columns: most pictures in a row.

    Returns:
      uint8 [height, width, 3].
    """
    pitch = side_px + _GAP_PX
    sheet = Image.new("RGB", (_LABEL_PX + columns * pitch, max(1, len(rows)) * pitch), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (label, pictures) in enumerate(rows):
        draw.multiline_text((4, row * pitch + 4), label, fill="black")
        for column, rgba in enumerate(pictures[:columns]):
            small = Image.fromarray(prepare_cutout(rgba, side_px)[..., :3])
            sheet.paste(small, (_LABEL_PX + column * pitch, row * pitch))
    return np.asarray(sheet)
