"""A rendered gallery and example photographs that are large enough to look at on the search page.

    python tests/serving/page_world.py --bundle=runs/demo/student/bundle --output=world
    fos serve --gallery=world/gallery

Cut-outs of 288 px and photographs of 768 px of the demo's test scenes: some five minutes on 2 cores.
"""

import argparse
import json
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from fos_jax.experts.loading import load
from fos_jax.gallery.building import build_gallery
from fos_jax.gallery.sources import FolderCutouts
from fos_jax.scenes.streams import render_cutouts, render_queries, sample_scenes

CATEGORIES = ("car", "person", "chair")
EXAMPLES = np.array([3, 10, 17, 24])
CHUNKS, CHUNK = 3, 64
PHOTOGRAPH_PX, CUTOUT_PX = 768, 288


def write_world(bundle: Path, output: Path) -> None:
    """Writes `cutouts/`, `examples/` and `gallery/`."""
    examples = []
    (output / "examples").mkdir(parents=True)
    for category in CATEGORIES:
        (output / "cutouts" / category).mkdir(parents=True)
        for start in range(0, CHUNKS * CHUNK, CHUNK):
            scenes = sample_scenes(0, "test", category, np.arange(start, start + CHUNK))
            for number, rgba in enumerate(render_cutouts(scenes, size=CUTOUT_PX), start):
                Image.fromarray(rgba).save(output / "cutouts" / category / f"{number:04d}.png")
            if start == 0:
                chosen = jax.tree.map(lambda values: values[EXAMPLES], scenes)
                images, boxes = render_queries(chosen, size=PHOTOGRAPH_PX, samples=2)
        for number, image, box in zip(EXAMPLES, images, boxes, strict=True):
            name = f"{category}-{number}"
            Image.fromarray(image).save(output / "examples" / f"{name}.png")
            y0, x0, y1, x1 = (round(float(value) * PHOTOGRAPH_PX) for value in box)
            size = {"width": PHOTOGRAPH_PX, "height": PHOTOGRAPH_PX}
            examples.append({"id": name, "category": category, "box": [x0, y0, x1, y1], **size})
    (output / "examples" / "examples.json").write_text(json.dumps(examples))
    source = FolderCutouts(output / "cutouts", categories=None, licence="Apache-2.0")
    build_gallery(source, load(bundle), output / "gallery", bundle_path=bundle)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True, help="of the demo")
    parser.add_argument("--output", type=Path, required=True, help="a new folder")
    arguments = parser.parse_args()
    write_world(arguments.bundle, arguments.output)
