"""ETH-80's photographs as the benchmarks use them: objects, viewpoints, held-out objects, contact sheets."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import reporting

from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.cutouts.extraction import extract
from fos_jax.cutouts.filters import config_with
from fos_jax.data.arrays import Foregrounds
from fos_jax.images import prepare_cutout
from fos_jax.pattern_table import Pattern, PatternTable
from fos_jax.patterns.proposal_report import viewpoint_bins

REAL = reporting.REAL / "eth80"
ANNOTATIONS = REAL / "instances.json"
NUM_BINS, RINGS, SPLITS = 25, ("steep", "raised", "level"), 3
RIGHT, WRONG, QUERY = (40, 170, 70), (210, 50, 40), (255, 255, 255)  # colours of frames in contact sheets


@dataclasses.dataclass(frozen=True)
class Objects:
    """n cut-outs: RGBA pictures of any size, str [n] category and object, int [n] viewpoint bin, annotations."""

    pictures: list[np.ndarray]
    category: np.ndarray
    object: np.ndarray
    viewpoint: np.ndarray
    annotations: list[Mapping[str, Any]]


def read_eth80(folder: Path) -> Objects:
    """Extracts into `folder`, or reads what an earlier run left there."""
    source = {"kind": "coco", "annotations": str(ANNOTATIONS), "images": str(REAL / "images")}
    extract(folder, source, config_with({}), progress=False)
    cutouts = CutoutSet(folder)
    pictures, annotations = dict(cutouts.pictures()), cutouts.attributes()
    return Objects(
        pictures=[pictures[i] for i in range(len(cutouts))],
        category=np.array(cutouts.column("category")),
        object=np.array([entry["object"] for entry in annotations]),
        viewpoint=viewpoint_bins(annotations),
        annotations=list(annotations),
    )


def split_objects(category: np.ndarray, objects: np.ndarray, split: int, *, seed: int = 0) -> np.ndarray:
    """ "train", "validation" or "test" for each cut-out, the same for all cut-outs of an object: str [n].

    Objects of each category stand in a drawn order: split k tests the k-th pair, the last one validates in every split
    (so that nothing tuned on it has seen an object that is ever tested), the others train.
    """
    part = np.full(len(objects), "train", dtype="<U10")
    rng = np.random.default_rng(seed)
    for name in np.unique(category):
        order = rng.permutation(np.unique(objects[category == name]))
        if len(order) < 2 * SPLITS + 1:
            raise ValueError(f"{name}: {len(order)} objects, expected at least {2 * SPLITS + 1}")
        in_category = category == name
        part[in_category & np.isin(objects, order[2 * split : 2 * split + 2])] = "test"
        part[in_category & (objects == order[-1])] = "validation"
    return part


def viewpoint_table(categories: Sequence[str]) -> PatternTable:
    """A pattern for each category and viewpoint bin, in the order category * 25 + bin.

    Mirrored, azimuth a becomes 180 - a in ETH-80: at 0 an animal looks right, at 90 into the camera, at 180 left. All
    views from the top lie the same way; mirrored they would lie as none in the data does, so they have no mirror image.
    """
    patterns = []
    for c, name in enumerate(categories):
        for view in range(NUM_BINS):
            ring, sector = divmod(view - 1, 8)
            where = f"{RINGS[ring]}, azimuth {45 * sector}" if view else "top"
            mirrored = c * NUM_BINS + 1 + 8 * ring + (4 - sector) % 8 if view else -1
            patterns.append(Pattern(len(patterns), name, {}, f"{name}, {where}", mirrored, {}))
    return PatternTable(tuple(categories), {name: {} for name in categories}, tuple(patterns))


def as_foregrounds(data: Objects, size: int) -> tuple[Foregrounds, PatternTable]:
    """The cut-outs as training and encoding take them, and their pattern table."""
    table = viewpoint_table(np.unique(data.category).tolist())
    category = np.unique(data.category, return_inverse=True)[1].astype(np.int32)
    images = np.stack([prepare_cutout(picture, size) for picture in data.pictures])
    ids = np.array([f"{name} {row}" for row, name in enumerate(data.object)])
    return Foregrounds(ids, images, category, (category * NUM_BINS + data.viewpoint).astype(np.int32)), table


def framed(rgb: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """A picture, uint8 [h, w, 3], small and in a frame of that colour: uint8 [64, 64, 4], opaque."""
    out = np.empty((64, 64, 4), np.uint8)
    out[:] = (*colour, 255)
    out[3:61, 3:61, :3] = cv2.resize(np.ascontiguousarray(rgb), (58, 58), interpolation=cv2.INTER_AREA)
    return out
