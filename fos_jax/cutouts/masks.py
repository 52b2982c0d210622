"""Masks of annotations, checked before they are decoded, as a window of the photograph.

Polygons become run lengths by pycocotools. Run lengths are decoded here: given too few runs, pycocotools 2.0.11
returns uninitialised memory (seen: a 35-pixel mask with a sum of 1140), and it fills the whole frame, of which an
object is a small part.
"""

import math
from typing import Any

import numpy as np

from fos_jax.boxes import BoxXyxyPx
from fos_jax.cutouts.sources.reading import brief
from fos_jax.errors import InputError

_MAX_CHARACTERS_PER_RUN = 7  # 35 bits; an image of 100,000 x 100,000 px needs 34
_MAX_OUTLINE = 1000  # in widths + heights of the photograph; a mask of noise has some hundred


def decode_mask(segmentation: Any, width: int, height: int, *, where: str) -> tuple[BoxXyxyPx, np.ndarray]:
    """A COCO segmentation as the smallest window of the photograph that holds it.

    Args:
      segmentation: list of polygons [x0, y0, x1, y1, ...], or {"size": [h, w], "counts": list or compressed text}.
      width, height: size of the photograph in pixels.
      where: file and field for messages.

    Returns:
      The window, half-open pixels (x0, y0, x1, y1), and the mask in it, bool [y1 - y0, x1 - x0].

    Raises:
      InputError: not a segmentation, not one of a photograph of this size, or no pixel in it.

    Source: documentation of the COCO format.
    """
    if isinstance(segmentation, dict):
        box, mask = _decode_runs(segmentation, width, height, where)
    elif isinstance(segmentation, list) and segmentation:
        box, mask = _fill_polygons(segmentation, width, height, where)
    else:
        raise InputError(f"{where}: got {brief(segmentation)}, expected polygons or run lengths")
    return tighten(box, mask, where=where)


def tighten(box: BoxXyxyPx, mask: np.ndarray, *, where: str) -> tuple[BoxXyxyPx, np.ndarray]:
    """Cuts a window and its mask to the pixels that are set; `InputError` where none is."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        raise InputError(f"{where}: the mask covers no pixel")
    x0, y0, x1, y1 = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    return (box[0] + x0, box[1] + y0, box[0] + x1, box[1] + y1), mask[y0:y1, x0:x1]


def decode_counts(text: str, *, where: str) -> np.ndarray:
    """Compressed run lengths as int64 [runs].

    Six bits per character from "0" on: five of value, the lowest first, and one that says that more follow; from the
    fourth run on the value is the difference to the run before the last.

    Raises:
      InputError: a character out of range, or a number that is unfinished or too long.
    """
    codes = np.frombuffer(text.encode("latin-1", "replace"), np.uint8).astype(np.int64) - 48
    if not codes.size:
        return codes
    if codes.min() < 0 or codes.max() >= 64 or codes[-1] & 32:
        raise InputError(f"{where}: counts are not compressed run lengths")
    ends = np.flatnonzero(codes & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _MAX_CHARACTERS_PER_RUN:
        raise InputError(f"{where}: counts hold a number of more than 35 bits")
    shifts = 5 * (np.arange(codes.size) - np.repeat(starts, lengths))
    runs = np.add.reduceat((codes & 31) << shifts, starts)
    runs -= np.where(codes[ends] & 16, np.int64(1) << (5 * lengths), 0)  # the last character holds the sign
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs


def _decode_runs(segmentation: dict, width: int, height: int, where: str) -> tuple[BoxXyxyPx, np.ndarray]:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != [height, width]:
        raise InputError(f"{where}: size is {brief(size)}, expected [{height}, {width}]")
    if isinstance(counts, str):
        runs = decode_counts(counts, where=where)
    elif isinstance(counts, list) and all(type(count) is int and 0 <= count <= width * height for count in counts):
        runs = np.array(counts, np.int64)
    else:
        raise InputError(f"{where}: counts are {brief(counts)}, expected run lengths from 0 to {width * height}")
    # Each run is bounded first, so that the sum cannot overflow into the right number.
    if not runs.size or runs.min() < 0 or runs.max() > width * height or runs.sum() != width * height:
        raise InputError(f"{where}: counts do not sum to {width} x {height} = {width * height}")
    return _fill_columns(runs, height, where)


def _fill_columns(runs: np.ndarray, height: int, where: str) -> tuple[BoxXyxyPx, np.ndarray]:
    """Fills checked runs, which go down the columns, in those columns only that hold some."""
    stops = np.cumsum(runs)
    is_set = (np.arange(runs.size) % 2 == 1) & (runs > 0)  # the first run is background
    if not is_set.any():
        raise InputError(f"{where}: the mask covers no pixel")
    first, last = np.flatnonzero(is_set)[[0, -1]]
    x0, x1 = int(stops[first] - runs[first]) // height, int(stops[last] - 1) // height + 1
    part = runs[first : last + 1].copy()
    before, after = int(stops[first] - runs[first]) - x0 * height, x1 * height - int(stops[last])
    values = np.arange(part.size) % 2 == 0
    filled = np.repeat(np.concatenate([[False], values, [False]]), np.concatenate([[before], part, [after]]))
    return (x0, 0, x1, height), filled.reshape(x1 - x0, height).T


def _fill_polygons(polygons: list, width: int, height: int, where: str) -> tuple[BoxXyxyPx, np.ndarray]:
    from pycocotools import mask as coco_mask

    points = [_check_polygon(polygon, width, height, where=f"{where}[{i}]") for i, polygon in enumerate(polygons)]
    # Only the outlines are walked here; pycocotools would fill the whole frame.
    merged = coco_mask.merge(coco_mask.frPyObjects(points, height, width))
    return _fill_columns(decode_counts(merged["counts"].decode("ascii"), where=where), height, where)


def _check_polygon(polygon: Any, width: int, height: int, *, where: str) -> list[float]:
    """Finite coordinates x0, y0, x1, y1, ... near the frame: annotators overshoot it a little. The outline is walked
    step by step, so a very long one would take for ever."""
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        raise InputError(f"{where}: got {brief(polygon)}, expected at least three points x, y")
    if not all(type(value) in (int, float) for value in polygon):
        raise InputError(f"{where}: got {brief(polygon)}, expected numbers")
    try:
        values = np.array(polygon, np.float64)
    except OverflowError:
        values = np.array([math.inf])
    low, high = -max(width, height), 2 * max(width, height)
    if not np.isfinite(values).all() or values.min() < low or values.max() > high:
        raise InputError(f"{where}: a coordinate lies far outside {width} x {height} px or is not finite")
    points = values.reshape(-1, 2)
    if np.abs(points - np.roll(points, 1, axis=0)).sum() > _MAX_OUTLINE * (width + height):
        raise InputError(f"{where}: the outline is more than {_MAX_OUTLINE} times as long as the frame's sides")
    return values.tolist()
