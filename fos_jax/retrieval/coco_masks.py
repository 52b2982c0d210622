"""Masks of COCO annotations, checked before they are decoded.

Polygons are filled by pycocotools. Run lengths are decoded here: given too few runs, pycocotools 2.0.11 returns
memory that it never wrote (seen: a 35-pixel mask with a sum of 1140).
"""

import math
from typing import Any

import numpy as np

from fos_jax.errors import InputError


def decode_mask(segmentation: Any, width: int, height: int, *, where: str) -> np.ndarray:
    """A COCO segmentation as bool [height, width].

    Args:
      segmentation: list of polygons [x0, y0, x1, y1, ...], or {"size": [h, w], "counts": list or compressed text}.
      width, height: size of the photograph in pixels.
      where: file and field for messages.

    Raises:
      InputError: not a segmentation, or not one of an image of this size.

    Source: documentation of the COCO format.
    """
    if isinstance(segmentation, dict):
        return _decode_runs(segmentation, width, height, where)
    if isinstance(segmentation, list) and segmentation:
        return _fill_polygons(segmentation, width, height, where)
    raise InputError(f"{where}: got {_brief(segmentation)}, expected polygons or run lengths")


def decode_counts(text: str | bytes, *, where: str) -> list[int]:
    """Compressed run lengths: six bits a character from "0", five of them value, and from the fourth run on the
    difference to the run before the last.

    Raises:
      InputError: a character out of range, or an unfinished number.
    """
    data = text.encode("latin-1", "replace") if isinstance(text, str) else text
    counts: list[int] = []
    value = shift = 0
    for byte in data:
        code = byte - 48
        if not 0 <= code < 64 or shift > 60:
            raise InputError(f"{where}: counts are not compressed run lengths")
        value |= (code & 31) << shift
        shift += 5
        if code & 32:  # more follows
            continue
        if code & 16:  # negative
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise InputError(f"{where}: counts end within a number")
    return counts


def _decode_runs(segmentation: dict, width: int, height: int, where: str) -> np.ndarray:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != [height, width]:
        raise InputError(f"{where}: size is {_brief(size)}, expected [{height}, {width}]")
    if isinstance(counts, str | bytes):
        counts = decode_counts(counts, where=where)
    if not isinstance(counts, list) or not all(isinstance(count, int) and count >= 0 for count in counts):
        raise InputError(f"{where}: counts are {_brief(counts)}, expected run lengths of 0 and more")
    if sum(counts) != width * height:
        raise InputError(f"{where}: counts sum to {sum(counts)}, expected {width} x {height} = {width * height}")
    values = np.arange(len(counts)) % 2 == 1  # the first run is background
    return np.repeat(values, counts).reshape(width, height).T  # runs go down the columns


def _fill_polygons(polygons: list, width: int, height: int, where: str) -> np.ndarray:
    from pycocotools import mask as coco_mask

    # Annotators overshoot the frame a little; coordinates far outside would make the filling walk for ever.
    low, high = -max(width, height), 2 * max(width, height)
    for index, polygon in enumerate(polygons):
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise InputError(f"{where}[{index}]: got {_brief(polygon)}, expected at least three points x, y")
        for value in polygon:
            if not isinstance(value, int | float) or not math.isfinite(value) or not low <= value <= high:
                raise InputError(f"{where}[{index}]: coordinate {_brief(value)} lies far outside {width} x {height} px")
    # A list of four numbers would be taken for a box, hence a list of float lists.
    runs = coco_mask.merge(coco_mask.frPyObjects([[float(v) for v in p] for p in polygons], height, width))
    return _decode_runs(runs, width, height, where)


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
