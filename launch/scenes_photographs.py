"""Renders photographs with instance masks in COCO's format, to try the way from photographs to a benchmark.

  fos scenes photographs --output=runs/photographs --per_category=200 --categories=car,person

Each annotation also carries the attributes of its true pattern (yaw, light, ...), which real photographs lack:
simulated annotators go by them, and proposals are measured against them.
"""

import json
from pathlib import Path

import numpy as np
from absl import flags
from tqdm import tqdm

from fos_jax.errors import InputError
from fos_jax.program import run_program

_OUTPUT = flags.DEFINE_string("output", None, "Folder to write: images/ and instances.json.", required=True)
_CATEGORIES = flags.DEFINE_list("categories", ["car", "person"], "Categories.")
_COUNT = flags.DEFINE_integer("per_category", 200, "Photographs of each category.", lower_bound=1)
_SIZE = flags.DEFINE_integer("image_px", 160, "Side of the photographs.", lower_bound=32)
_SEED = flags.DEFINE_integer("seed", 2, "Seed of the scenes; data sets use 1.")


def main() -> None:
    from pycocotools import mask as coco_mask

    from fos_jax.files import published_directory
    from fos_jax.images import encode_png
    from fos_jax.scenes.attributes import CATEGORIES, pattern_rows
    from fos_jax.scenes.streams import photograph_stream

    unknown = sorted(set(_CATEGORIES.value) - set(CATEGORIES))
    if unknown:
        raise InputError(f"categories: unknown {unknown[0]!r}, expected some of {', '.join(CATEGORIES)}")
    counts = dict.fromkeys(_CATEGORIES.value, _COUNT.value)
    images, annotations = [], []
    with published_directory(_OUTPUT.value) as folder:
        (folder / "images").mkdir()
        rows = photograph_stream(_SEED.value, "train", counts, size=_SIZE.value)
        for number, row in enumerate(tqdm(rows, total=sum(counts.values()), desc="photographs", unit="img"), 1):
            name = f"{row['category']}-{row['index']:05d}.png"
            (folder / "images" / name).write_bytes(encode_png(row["image"]))
            images.append({"id": number, "file_name": name, "width": _SIZE.value, "height": _SIZE.value, "license": 1})
            encoded = coco_mask.encode(np.asfortranarray(row["mask"].astype(np.uint8)))
            x, y, w, h = coco_mask.toBbox(encoded).tolist()
            annotations.append(
                {
                    "id": number,
                    "image_id": number,
                    "category_id": 1 + CATEGORIES.index(row["category"]),
                    "segmentation": {"size": list(encoded["size"]), "counts": encoded["counts"].decode()},
                    "bbox": [x, y, w, h],
                    "area": int(coco_mask.area(encoded)),
                    "iscrowd": 0,
                    **pattern_rows(row["category"])[row["pattern"]],
                }
            )
        (folder / "instances.json").write_text(
            json.dumps(
                {
                    "licenses": [{"id": 1, "name": "Apache-2.0", "url": ""}],
                    "categories": [{"id": 1 + i, "name": name} for i, name in enumerate(CATEGORIES)],
                    "images": images,
                    "annotations": annotations,
                }
            )
        )
    print(Path(_OUTPUT.value) / "instances.json")


def run() -> None:
    run_program(main)


if __name__ == "__main__":
    run()
