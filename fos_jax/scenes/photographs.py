"""Rendered photographs with instance masks in COCO's format."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fos_jax.errors import InputError
from fos_jax.files import published_directory
from fos_jax.images import encode_png
from fos_jax.scenes.attributes import CATEGORIES, pattern_rows
from fos_jax.scenes.streams import photograph_stream


def write_photographs(
    output: str | Path, categories: Sequence[str], *, per_category: int, image_px: int, seed: int
) -> Path:
    """Writes `images/` and `instances.json` and returns the latter; annotations carry their pattern's attributes.

    Raises:
      InputError: unknown category.
    """
    from pycocotools import mask as coco_mask
    from tqdm import tqdm

    unknown = sorted(set(categories) - set(CATEGORIES))
    if unknown:
        raise InputError(f"categories: unknown {unknown[0]!r}, expected some of {', '.join(CATEGORIES)}")
    counts = dict.fromkeys(categories, per_category)
    images, annotations = [], []
    with published_directory(output) as folder:
        (folder / "images").mkdir()
        rows = photograph_stream(seed, "train", counts, size=image_px)
        for number, row in enumerate(tqdm(rows, total=sum(counts.values()), desc="photographs", unit="img"), 1):
            name = f"{row['category']}-{row['index']:05d}.png"
            (folder / "images" / name).write_bytes(encode_png(row["image"]))
            images.append({"id": number, "file_name": name, "width": image_px, "height": image_px, "license": 1})
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
    return Path(output) / "instances.json"
