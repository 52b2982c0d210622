"""Photographs for the page of the demo: scenes of the test split, rendered larger than the data set's."""

import json
from pathlib import Path

import numpy as np

from fos_jax.files import published_directory
from fos_jax.images import encode_png
from fos_jax.scenes.streams import CHUNK, render_queries, sample_scenes

_SIDE_PX = 512
_SCENES = (3, 10, 17)


def write_examples(folder: Path, *, categories: tuple[str, ...], seed: int = 0) -> None:
    """Writes photographs with rectangles and `examples.json`, as `fos serve --examples` reads it; not again.

    Args:
      folder: where to. categories: of the rendered world. seed: the data set's.
    """
    if folder.exists():
        return
    import jax

    listed = []
    with published_directory(folder) as aside:
        for category in categories:
            scenes = sample_scenes(seed, "test", category, np.arange(CHUNK))
            chosen = jax.tree.map(lambda values: values[list(_SCENES)], scenes)
            images, boxes = render_queries(chosen, size=_SIDE_PX, samples=2)
            for number, image, (y0, x0, y1, x1) in zip(_SCENES, images, boxes * _SIDE_PX, strict=True):
                name = f"{category}-{number}"
                (aside / f"{name}.png").write_bytes(encode_png(image, compress_level=6))
                box = [int(np.rint(value)) for value in (x0, y0, x1, y1)]
                listed.append({"id": name, "category": category, "box": box, "width": _SIDE_PX, "height": _SIDE_PX})
        (aside / "examples.json").write_text(json.dumps(listed, indent=1))
