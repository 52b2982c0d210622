"""Scale and anchor of a cut-out in a rectangle of a photograph."""

from collections.abc import Sequence

import numpy as np

from fos_jax.boxes import check_box_xyxy_px, touched_sides
from fos_jax.images import visible_box_xyxy_px

# Lowest rows that hold less than this share of the width are a stray tip, unless they make up more than _MAX_STRAY of
# the height.
_STRAY_WIDTH = 0.02
_MAX_STRAY = 0.05
# A cut-out that has to reach two opposite sides overflows the rectangle at others by no more than this factor: about
# what composition demands of its aspect.
_MAX_OVERFLOW = 2.0


def placement(
    cutout: np.ndarray,
    box_xyxy_px: Sequence[float],
    width: int,
    height: int,
    *,
    truncated: Sequence[str] | None = None,
) -> tuple[float, float, float, float]:
    """Where the visible part of a cut-out goes, its aspect kept.

    It is scaled until it fills one side of the rectangle and stands on the rectangle's bottom, in the middle. At a
    side where its photograph cut it and the rectangle touches the picture's edge, it reaches that edge; where it has to
    reach two opposite sides (cut at the top, standing at the bottom), it is scaled to do so and may leave the rest.

    Args:
      cutout: uint8 [h', w', 4], straight alpha, as it is shown (flipped already where it is mirrored).
      box_xyxy_px: the rectangle, whole pixels inside the photograph.
      width, height: of the photograph in pixels.
      truncated: sides of the cut-out as it is shown, of `boxes.SIDES`; None where unknown.

    Returns:
      x0, y0, x1, y1 in pixels of the photograph, fractional, as `layers.Layer` takes them. Stray pixels below the
      contact with the ground may lie below the rectangle, and parts may leave the photograph.

    Raises:
      InputError: the rectangle leaves the photograph, or nothing of the cut-out is visible.

    Source: decision 29.
    """
    box = check_box_xyxy_px(box_xyxy_px, width, height)
    left, top, right, bottom = visible_box_xyxy_px(cutout)
    cut = set(touched_sides(box, width, height)) & set(truncated or ())
    x0, y0, x1, y1 = (
        edge if side in cut else value
        for side, value, edge in zip(("left", "top", "right", "bottom"), box, (0, 0, width, height), strict=True)
    )
    own_width = right - left
    own_height = bottom - top if "bottom" in cut else contact_row(cutout[top:bottom, left:right, 3])
    scales = ((x1 - x0) / own_width, (y1 - y0) / own_height)
    spanned = [scales[0]] * ({"left", "right"} <= cut) + [scales[1]] * ("top" in cut)
    scale = min(max([min(scales), *spanned]), _MAX_OVERFLOW * min(scales))
    free_x, free_y = x1 - x0 - scale * own_width, y1 - y0 - scale * own_height
    share_x = {(True, False): 0.0, (False, True): 1.0}.get(("left" in cut, "right" in cut), 0.5)
    share_y = 0.0 if "top" in cut and "bottom" not in cut else 1.0
    new_left, new_top = x0 + share_x * free_x, y0 + share_y * free_y
    return (
        new_left,
        new_top,
        new_left + scale * own_width,
        new_top + scale * (bottom - top),
    )


def contact_row(alpha: np.ndarray) -> int:
    """Rows from the top of a cropped cut-out to its contact with the ground, at least 1.

    Args:
      alpha: uint8 [h, w], cropped to what is visible.

    Source: design decision: the lowest row that is opaque over 2 % of the width; lower pixels are stray, if they take
      up no more than 5 % of the height.
    """
    height, width = alpha.shape
    lowest = height - int(_MAX_STRAY * height)
    wide = np.count_nonzero(alpha[lowest - 1 :] > 127, axis=1) >= max(1, _STRAY_WIDTH * width)
    return lowest + int(np.flatnonzero(wide)[-1]) if wide.any() else height
