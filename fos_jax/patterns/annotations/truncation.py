"""Truncation by the photograph's border, from a mask or a rectangle.

Source: a mask touches the border as `fos_jax.cutouts.measures.truncated_sides` measures it; names are of this project.
"""

import numpy as np

from fos_jax.boxes import BoxXyxyPx
from fos_jax.cutouts.measures import SIDES, truncated_sides

TRUNCATIONS = ("none", "below", "left", "right", "above", "several")
EXTENTS = ("none", "partial", "full")
_NAMES = {"left": "left", "top": "above", "right": "right", "bottom": "below"}
_MARGIN_PX, _CONTACT = 2, 0.1
_FULL_CONTACT = 0.6


def truncation(box_xyxy_px: BoxXyxyPx, frame_size: tuple[int, int], mask: np.ndarray | None) -> str | None:
    """Side of the photograph that cuts the object, one of `TRUNCATIONS`.

    Args:
      box_xyxy_px: the object's rectangle.
      frame_size: the photograph's width and height in pixels; (0, 0) where unknown.
      mask: bool [h, w], of the rectangle's size; None where there is none: a rectangle that touches the border is then
        taken for an object that does.

    Returns:
      None where the photograph's size is not known.

    Source: design decision; contact with the border as `fos_jax.cutouts.measures.truncated_sides` measures it.
    """
    if not frame_size[0]:
        return None
    sides = _sides(box_xyxy_px, frame_size, mask)
    if len(sides) > 1:
        return "several"
    return _NAMES[sides[0]] if sides else "none"


def truncation_extent(box_xyxy_px: BoxXyxyPx, frame_size: tuple[int, int], mask: np.ndarray | None) -> str | None:
    """Share of the cut side along which the object touches the border, one of `EXTENTS`.

    "partial" is a paw or a shoulder that is cut off, "full" (60 % or more) an object cut all across.

    Args: as `truncation`.

    Returns:
      None where the photograph's size is not known, or where the rectangle touches the border and there is no mask.

    Source: as of `truncation`.
    """
    if not frame_size[0]:
        return None
    sides = _sides(box_xyxy_px, frame_size, mask)
    if not sides:
        return "none"
    if mask is None:
        return None
    return "full" if set(sides) & set(_sides(box_xyxy_px, frame_size, mask, contact=_FULL_CONTACT)) else "partial"


def _sides(
    box_xyxy_px: BoxXyxyPx, frame_size: tuple[int, int], mask: np.ndarray | None, *, contact: float = _CONTACT
) -> tuple[str, ...]:
    if mask is not None:
        return truncated_sides(mask, box_xyxy_px, frame_size, margin_px=_MARGIN_PX, contact=contact)
    x0, y0, x1, y1 = box_xyxy_px
    gaps = (x0, y0, frame_size[0] - x1, frame_size[1] - y1)
    return tuple(side for side, gap in zip(SIDES, gaps, strict=True) if gap <= _MARGIN_PX)
