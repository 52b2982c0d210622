"""Draws a contact sheet of the procedural world: for each scene the photograph, the query with its rectangle filled and
the cut-out.

Example: python -m fos_jax.launch.scenes_sheet --categories=car,chair --count=16 --output=sheet.png
"""

import functools

import cv2
import jax
import numpy as np
from absl import flags

from fos_jax.program import run_program
from fos_jax.scenes.attributes import CATEGORIES, pattern_rows
from fos_jax.scenes.render import render_photograph
from fos_jax.scenes.streams import render_cutouts, render_queries, sample_scenes

_CATEGORIES = flags.DEFINE_list("categories", list(CATEGORIES), "Categories to draw.")
_COUNT = flags.DEFINE_integer("count", 8, "Scenes of each category, spread over its patterns.", lower_bound=1)
_COLUMNS = flags.DEFINE_integer("columns", 4, "Scenes in a row.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 1000, "Seed of the scenes; data sets use 1.")
_OUTPUT = flags.DEFINE_string("output", "contact_sheet.png", "PNG file to write.")

SIDE_PX = 128


def scene_rows(category: str, count: int, seed: int) -> list[np.ndarray]:
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


def main() -> None:
    cells = [row for c in _CATEGORIES.value for row in scene_rows(c, _COUNT.value, _SEED.value)]
    cells += [np.zeros_like(cells[0])] * (-len(cells) % _COLUMNS.value)
    lines = [np.concatenate(cells[i : i + _COLUMNS.value], 1) for i in range(0, len(cells), _COLUMNS.value)]
    cv2.imwrite(_OUTPUT.value, np.concatenate(lines)[..., ::-1])
    print(_OUTPUT.value)


def run() -> None:
    run_program(main)


if __name__ == "__main__":
    run()
