"""Frozen features of fos_synthetic: its queries and cut-outs as the experts take them."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fos_jax.experts.examples import Side
from fos_jax.experts.features import FeatureCache
from fos_jax.experts.inputs import Row, cutout_row, query_row

if TYPE_CHECKING:
    from fos_jax.data.arrays import Foregrounds, Queries
    from fos_jax.pattern_table import PatternTable

QUERY_PX, CUTOUT_PX = 128, 64  # as the data set stores them
_CHUNK = 256


def rendered_sides(
    features: FeatureCache, data_dir: str, size: str, split: str, folder: Path
) -> tuple["Foregrounds", "Queries", "PatternTable", dict[str, Side]]:
    """A split, and "query" and "foreground" -> inputs of the experts, row by row; prepared arrays lie in `folder`."""
    from fos_jax.data.splits import load_split

    sizes = {"foreground_size": CUTOUT_PX, "query_size": QUERY_PX, "cache_dir": folder / "prepared"}
    foregrounds, queries, table = load_split(data_dir, size=size, split=split, progress=False, **sizes)
    sides = {
        "query": query_side(features, queries.image, queries.box_yxyx_norm),
        "foreground": cutout_side(features, foregrounds.image),
    }
    return foregrounds, queries, table, sides


def query_side(features: FeatureCache, image: np.ndarray, box_yxyx_norm: np.ndarray) -> Side:
    """Inputs of queries: uint8 [n, s, s, 3] and float [n, 4]."""
    size = features.backbone.size

    def row(i: int) -> Row:
        height, width = image[i].shape[:2]
        y0, x0, y1, x1 = box_yxyx_norm[i] * [height, width, height, width]
        box = max(0, round(x0)), max(0, round(y0)), min(width, round(x1)), min(height, round(y1))
        return query_row(np.ascontiguousarray(image[i]), box, size)

    return _side(features, row, len(image))


def cutout_side(features: FeatureCache, image: np.ndarray) -> Side:
    """Inputs of whole cut-outs, uint8 [n, s, s, 4], cropped to what is visible."""
    size = features.backbone.size

    def row(i: int) -> Row:
        rgba = np.asarray(image[i])
        rows, columns = (np.flatnonzero((rgba[..., 3] > 8).any(axis)) for axis in (1, 0))
        return cutout_row(rgba[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], (), size, erode=False)

    return _side(features, row, len(image))


def _side(features: FeatureCache, row, count: int) -> Side:
    parts = []
    for start in range(0, count, _CHUNK):
        images, shapes, tones = zip(*(row(i) for i in range(start, min(start + _CHUNK, count))), strict=True)
        parts.append((features(np.stack(images)), np.stack(shapes), np.stack(tones)))
    return Side(*(np.concatenate(column) for column in zip(*parts, strict=True)))
