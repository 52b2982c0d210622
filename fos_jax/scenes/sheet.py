"""A contact sheet of the procedural world: photograph, query with its rectangle filled, and cut-out of each scene."""

import functools
from collections.abc import Sequence

import jax
import numpy as np

from fos_jax.scenes.attributes import pattern_rows
from fos_jax.scenes.render import render_photograph
from fos_jax.scenes.streams import render_cutouts, render_queries, sample_scenes

SIDE_PX = 128


def scene_sheet(categories: Sequence[str], count: int, *, columns: int, seed: int) -> np.ndarray:
    """uint8 RGB picture of `count` scenes per category, spread over its patterns; `columns` scenes per row."""
    cells = [row for category in categories for row in _scene_rows(category, count, seed)]
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    return np.concatenate([np.concatenate(cells[i : i + columns], 1) for i in range(0, len(cells), columns)])


def _scene_rows(category: str, count: int, seed: int) -> list[np.ndarray]:
    """uint8 [SIDE_PX, 3 * SIDE_PX, 3] for each of `count` scenes spread over the category's patterns."""
    patterns = len(pattern_rows(category))
    turns = np.arange(count)
    scenes = sample_scenes(seed, "train", category, turns * patterns + turns * patterns // count % patterns)
    photographs = jax.jit(functools.partial(jax.lax.map, functools.partial(render_photograph, size=SIDE_PX, samples=2)))
    queries, boxes = render_queries(scenes, size=SIDE_PX)
    cutouts = render_cutouts(scenes, size=SIDE_PX).astype(np.float32)
    alpha = cutouts[..., 3:] / 255
    on_grey = (cutouts[..., :3] * alpha + 128 * (1 - alpha)).astype(np.uint8)
    rows = []
    for photograph, query, box, cutout in zip(np.asarray(photographs(scenes)), queries, boxes, on_grey, strict=True):
        y0, x0, y1, x1 = np.round(box * SIDE_PX).astype(int)
        filled = query.copy()
        filled[y0:y1, x0:x1] = 128
        rows.append(np.concatenate([photograph, filled, cutout], 1))
    return rows
