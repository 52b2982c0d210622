"""Pasting a cut-out into the rectangle of a photograph."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from fos_jax.boxes import check_box_xyxy_px
from fos_jax.compose.harmonise import match_surroundings
from fos_jax.errors import InputError
from fos_jax.images import resize_rgba, visible_box_xyxy_px

Fit = Literal["contain", "cover", "stretch"]


def paste_cutout(
    photo: np.ndarray,
    cutout: np.ndarray,
    box_xyxy_px: Sequence[float],
    *,
    fit: Fit = "contain",
    anchor: tuple[float, float] = (0.5, 1.0),
    harmonise: float = 0.0,
) -> np.ndarray:
    """The photograph with the visible part of the cut-out in its rectangle.

    Args:
      photo: uint8 [h, w, 3].
      cutout: uint8 [h', w', 4], straight alpha.
      box_xyxy_px: the rectangle in the photograph; nothing outside it changes.
      fit: "contain" scales the cut-out until it fills one side of the rectangle, "cover" until it fills both (the rest
        is cut off), both with its aspect kept; "stretch" fills both sides.
      anchor: where the cut-out lies when sides differ, as fractions of the free width and height; things stand on the
        ground, so the bottom centre by default.
      harmonise: 0 leaves the colours, 1 moves their mean and spread wholly to the surroundings' (`compose.harmonise`).

    Returns:
      uint8 [h, w, 3], a new array.

    Raises:
      InputError: the rectangle leaves the photograph, nothing of the cut-out is visible, or an option is unknown.

    Source: design decision.
    """
    height, width = photo.shape[:2]
    x0, y0, x1, y1 = check_box_xyxy_px(box_xyxy_px, width, height)
    if not 0 <= harmonise <= 1:
        raise InputError(f"harmonise: got {harmonise!r}, expected 0 to 1")
    left, top, right, bottom = visible_box_xyxy_px(cutout)
    visible = cutout[top:bottom, left:right]
    new_width, new_height = fitted_size(right - left, bottom - top, x1 - x0, y1 - y0, fit=fit)
    scaled = resize_rgba(visible, new_width, new_height)
    # Offsets are negative where "cover" overflows the rectangle.
    dx = round((x1 - x0 - new_width) * anchor[0])
    dy = round((y1 - y0 - new_height) * anchor[1])
    layer = np.zeros((y1 - y0, x1 - x0, 4), np.uint8)
    part = scaled[max(-dy, 0) : y1 - y0 - dy, max(-dx, 0) : x1 - x0 - dx]
    layer[max(dy, 0) : max(dy, 0) + part.shape[0], max(dx, 0) : max(dx, 0) + part.shape[1]] = part
    if harmonise:
        layer = match_surroundings(photo, layer, (x0, y0, x1, y1), strength=harmonise)
    out = photo.copy()
    alpha = layer[..., 3:].astype(np.float32) / 255
    out[y0:y1, x0:x1] = np.rint(layer[..., :3] * alpha + out[y0:y1, x0:x1] * (1 - alpha)).astype(np.uint8)
    return out


def fitted_size(width: int, height: int, box_width: int, box_height: int, *, fit: Fit) -> tuple[int, int]:
    """Width and height in pixels, at least 1, of a cut-out that was fitted to a rectangle; see `paste_cutout`."""
    if fit == "stretch":
        return box_width, box_height
    ratios = (box_width / width, box_height / height)
    if fit == "contain":
        scale = min(ratios)
    elif fit == "cover":
        scale = max(ratios)
    else:
        raise InputError(f"fit: unknown {fit!r}, expected contain, cover or stretch")
    return max(1, round(width * scale)), max(1, round(height * scale))
