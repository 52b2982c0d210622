"""Write docs/composites.jpg: rendered cut-outs pasted into rendered places, step by step.

    python benchmarks/composite_pictures.py [--output=docs/composites.jpg]

A cut-out is taken from a photograph of its own place: rows take turns between soft masks and hard ones that hold a
pixel of the old background, as people outline. Columns: the place with its rectangle, plain paste, clean edges,
harmonised, with a contact shadow, Poisson blending.
"""

from pathlib import Path

import cv2
import numpy as np
from composites import cut_again, over
from reporting import make_parser

from fos_jax.boxes import box_yxyx_norm_to_xyxy_px
from fos_jax.compose.layers import Layer, compose_layers
from fos_jax.compose.placement import placement
from fos_jax.files import write_whole

# Category, pattern and number of the place; and of the scene that the cut-out comes from (the same pattern).
ROWS = (("car", 3, "soft"), ("dog", 5, "sloppy"), ("potted_plant", 2, "soft"), ("person", 4, "sloppy"))
COLUMNS = ("place", "plain", "clean edges", "+ harmonised .5", "+ shadow .6", "Poisson, shadow .6")
SIZE_PX, CELL_PX = 512, 250


def cells(category: str, number: int, masks: str) -> list[np.ndarray]:
    """uint8 [CELL_PX, CELL_PX, 3] per column."""
    from fos_jax.scenes.attributes import pattern_rows
    from fos_jax.scenes.streams import render_cutouts, render_queries, sample_scenes

    patterns = len(pattern_rows(category))
    scenes = sample_scenes(3, "test", category, np.array([number, number + patterns]))
    places, boxes = render_queries(scenes, size=SIZE_PX, samples=2)
    cutout = render_cutouts(scenes, size=SIZE_PX // 2, samples=4)[1]
    old = cv2.resize(places[1], (SIZE_PX // 2, SIZE_PX // 2), interpolation=cv2.INTER_AREA)
    cutout = cut_again(over(cutout, old), cutout[..., 3], masks)
    photo = places[0]
    box = box_yxyx_norm_to_xyxy_px(boxes[0], SIZE_PX, SIZE_PX)
    where = placement(cutout, box, SIZE_PX, SIZE_PX)
    marked = photo.copy()
    cv2.rectangle(marked, box[:2], box[2:], (255, 0, 200), 2)
    plain = {"clean_edges": False}
    harmonised = {"harmonise": 0.5}
    steps = (plain, {}, harmonised, {**harmonised, "shadow": 0.6}, {"blend": "poisson", "shadow": 0.6})
    made = [compose_layers(photo, [Layer(cutout, where, **step)]) for step in steps]
    side = min(SIZE_PX, round(1.7 * max(box[2] - box[0], box[3] - box[1])))
    x, y = (min(max((a + b - side) // 2, 0), SIZE_PX - side) for a, b in ((box[0], box[2]), (box[1], box[3])))
    crops = [picture[y : y + side, x : x + side] for picture in (marked, *made)]
    return [cv2.resize(crop, (CELL_PX, CELL_PX), interpolation=cv2.INTER_AREA) for crop in crops]


def sheet(rows: list[list[np.ndarray]]) -> np.ndarray:
    """uint8 [h, w, 3]: a row of cells each, below the names of the columns."""
    head = np.full((28, CELL_PX * len(COLUMNS), 3), 255, np.uint8)
    for column, name in enumerate(COLUMNS):
        cv2.putText(head, name, (CELL_PX * column + 6, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([head, *(np.concatenate(row, axis=1) for row in rows)])


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--output", type=Path, default=Path("docs/composites.jpg"))
    output = parser.parse_args().output
    picture = sheet([cells(*row) for row in ROWS])
    write_whole(output, cv2.imencode(output.suffix, picture[..., ::-1])[1].tobytes())


if __name__ == "__main__":
    main()
