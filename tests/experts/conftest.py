"""A small folder of photographs in COCO's format: bright discs on bright grounds, dark squares on dark ones."""

import json

import cv2
import numpy as np
import pytest

from fos_jax.experts.features import FeatureCache, FrozenBackbone
from fos_jax.images import encode_png

CATEGORIES = ("cup", "lamp")


def picture(rng, number):
    """uint8 [120, 160, 3] with one object, its polygon and its category."""
    tone = int(rng.integers(40, 200))
    image = np.full((120, 160, 3), tone, np.uint8)
    image = np.clip(image + rng.normal(0, 8, image.shape), 0, 255).astype(np.uint8)
    width, height = int(rng.integers(40, 80)), int(rng.integers(40, 90))
    left, top = int(rng.integers(0, 160 - width)), int(rng.integers(0, 120 - height))
    colour = tuple(int(v) for v in np.clip(tone + rng.normal(0, 15, 3), 0, 255))
    if number % 2:
        outline = cv2.ellipse2Poly(
            (left + width // 2, top + height // 2), (width // 2 - 1, height // 2 - 1), 0, 0, 360, 15
        )
    else:
        outline = np.array([(left, top), (left + width, top), (left + width, top + height), (left, top + height)])
    cv2.fillPoly(image, [outline.astype(np.int32)], colour)
    return image, outline, CATEGORIES[number % 2]


@pytest.fixture(scope="session")
def coco_folder(tmp_path_factory):
    """40 photographs with one object each; 28 for training, 6 for validation and 6 for test."""
    folder = tmp_path_factory.mktemp("coco")
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(40):
        image, outline, category = picture(rng, number)
        (folder / "images" / f"{number}.png").write_bytes(encode_png(image))
        split = "train" if number < 28 else "validation" if number < 34 else "test"
        images.append({"id": number, "file_name": f"{number}.png", "width": 160, "height": 120, "split": split})
        x, y, w, h = cv2.boundingRect(outline.astype(np.int32))
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": 1 + CATEGORIES.index(category),
                "bbox": [x, y, min(w, 160 - x), min(h, 120 - y)],
                "segmentation": [outline.astype(float).ravel().tolist()],
                "area": float(w * h),
                "iscrowd": 0,
            }
        )
    categories = [{"id": 1 + i, "name": name} for i, name in enumerate(CATEGORIES)]
    text = json.dumps({"images": images, "annotations": annotations, "categories": categories})
    (folder / "instances.json").write_text(text)
    return folder


@pytest.fixture(scope="session")
def backbone():
    """Lite0 at 64 px: its real weights, in a fraction of the time."""
    return FrozenBackbone(size=64)


@pytest.fixture(scope="session")
def features(backbone, tmp_path_factory):
    return FeatureCache(backbone, tmp_path_factory.mktemp("features"))


@pytest.fixture(scope="session")
def source(coco_folder):
    return {
        "kind": "coco",
        "annotations": str(coco_folder / "instances.json"),
        "images": str(coco_folder / "images"),
        "maskless": "keep",
    }
