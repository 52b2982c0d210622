"""Rectangles: checks and conversions between the formats that the names state.

`box_xyxy_px` holds half-open integers (x0, y0, x1, y1) with 0 <= x0 < x1 <= width; `box_yxyx_norm` holds fractions of
the image's height and width, the order that TFDS stores; `box_xywh_px` is COCO's corner and extent, which may be
fractional.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fos_jax.errors import InputError

BoxXyxyPx = tuple[int, int, int, int]
SIDES = ("left", "top", "right", "bottom")  # of a picture, in the order in which sets of them are listed


def _four_finite_numbers(box: Any, where: str) -> list[float]:
    try:
        values = [float(value) for value in box]
    except (TypeError, ValueError):
        raise InputError(f"{where}: got {box!r}, expected four numbers") from None
    except OverflowError:
        raise InputError(f"{where}: got a number of hundreds of digits, expected pixels") from None
    if len(values) != 4:
        raise InputError(f"{where}: got {len(values)} numbers, expected four")
    if not all(map(math.isfinite, values)):
        raise InputError(f"{where}: got {_text(values)}, expected finite numbers")
    return values


def _text(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"


def check_box_xyxy_px(box: Any, width: int, height: int, *, where: str = "box") -> BoxXyxyPx:
    """Checks a rectangle against its image and returns it as plain integers.

    Args:
      box: four numbers x0, y0, x1, y1 in pixels, half-open; whole numbers of any numeric type.
      width, height: size of the image in pixels.
      where: what the message calls the rectangle, such as a flag or a file and field.

    Raises:
      InputError: the box is not four finite whole numbers, is empty or inverted, or leaves the image.

    Source: decision 30; a rectangle that leaves the frame is refused rather than clipped, because clipping would
      change the scale that the user asked for without a word.
    """
    values = _four_finite_numbers(box, where)
    if any(value != int(value) for value in values):
        raise InputError(f"{where}: got {_text(values)}, expected whole pixels")
    x0, y0, x1, y1 = (int(value) for value in values)
    if x1 <= x0 or y1 <= y0:
        raise InputError(f"{where}: got {_text(values)}, expected x0 < x1 and y0 < y1")
    if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
        raise InputError(f"{where}: got {_text(values)}, expected it inside the image of {width} x {height} px")
    return x0, y0, x1, y1


def parse_box_xyxy_px(text: str, *, where: str = "box") -> BoxXyxyPx:
    """Parses "x0,y0,x1,y1" into whole pixels; `check_box_xyxy_px` checks them once the image is known.

    Raises:
      InputError: not four whole numbers separated by commas.
    """
    try:
        x0, y0, x1, y1 = (int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{where}: got {text!r}, expected x0,y0,x1,y1 in whole pixels") from None
    return x0, y0, x1, y1


def box_xyxy_px_to_yxyx_norm(box_xyxy_px: Sequence[float], width: int, height: int) -> np.ndarray:
    """Pixels -> float32 [4] fractions (y0, x0, y1, x1) of an image of width x height pixels."""
    x0, y0, x1, y1 = box_xyxy_px
    return np.array([y0 / height, x0 / width, y1 / height, x1 / width], np.float32)


def box_yxyx_norm_to_xyxy_px(
    box_yxyx_norm: Sequence[float], width: int, height: int, *, where: str = "box"
) -> BoxXyxyPx:
    """Fractions (y0, x0, y1, x1) -> the nearest whole pixels inside the image, at least one pixel wide and high.

    Raises:
      InputError: not four finite fractions in 0..1 with y0 < y1 and x0 < x1.
    """
    values = _four_finite_numbers(box_yxyx_norm, where)
    y0, x0, y1, x1 = values
    if not (0 <= y0 < y1 <= 1 and 0 <= x0 < x1 <= 1):
        raise InputError(
            f"{where}: got {_text(values)}, expected fractions y0, x0, y1, x1 in 0..1 with y0 < y1, x0 < x1"
        )
    left, right = _whole_interval(x0 * width, x1 * width, width)
    top, bottom = _whole_interval(y0 * height, y1 * height, height)
    return left, top, right, bottom


def _whole_interval(start: float, stop: float, length: int) -> tuple[int, int]:
    """Rounds an interval to whole pixels of 0..length, widening it to one pixel where it would vanish."""
    first = min(round(start), length - 1)
    return first, max(round(stop), first + 1)


def box_xywh_px_to_xyxy_px(box_xywh_px: Any, width: int, height: int, *, where: str = "box") -> BoxXyxyPx:
    """COCO's (x, y, width, height), possibly fractional -> the smallest whole-pixel rectangle that holds it, in frame.

    Annotations round and overshoot by a pixel, so the frame clips; nothing may remain outside after that.

    Raises:
      InputError: not four finite numbers, no extent, or wholly outside the image.
    """
    values = _four_finite_numbers(box_xywh_px, where)
    x, y, box_width, box_height = values
    if box_width <= 0 or box_height <= 0:
        raise InputError(f"{where}: got {_text(values)}, expected a positive width and height")
    x0, y0 = max(math.floor(x), 0), max(math.floor(y), 0)
    x1, y1 = min(math.ceil(x + box_width), width), min(math.ceil(y + box_height), height)
    if x1 <= x0 or y1 <= y0:
        raise InputError(f"{where}: got {_text(values)}, expected it inside the image of {width} x {height} px")
    return x0, y0, x1, y1


def touched_sides(box_xyxy_px: Sequence[float], width: int, height: int, *, margin: float = 0.01) -> tuple[str, ...]:
    """Sides of a picture, a subset of `SIDES`, that a rectangle touches.

    Args:
      box_xyxy_px: the rectangle.
      width, height: of the picture in pixels.
      margin: how far from the edge still counts, as a share of the picture's longer side (at least 2 px): people draw
        rectangles by hand.
    """
    x0, y0, x1, y1 = box_xyxy_px
    slack = max(2, round(margin * max(width, height)))
    return tuple(side for side, gap in zip(SIDES, (x0, y0, width - x1, height - y1), strict=True) if gap <= slack)
