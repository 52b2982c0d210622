"""Attributes of the samples of real photographs, and a data set made of them."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.cutouts.masks import decode_mask
from fos_jax.cutouts.records import Defects
from fos_jax.cutouts.sources import open_source
from fos_jax.datasets.fos_patterns.from_annotations import annotate
from fos_jax.errors import InputError
from fos_jax.patterns.annotations.keypoints import mirrored_keypoints, read_keypoints
from fos_jax.patterns.annotations.reading import ATTRIBUTES, annotation_attributes, cutout_attributes

REAL = Path(__file__).resolve().parents[3] / "shared" / "real"
VIEWS = ["animal_view", "animal_posture", "person_facing", "person_extent", "person_posture"]


def _folder(name):
    folder = REAL / name
    if not (folder / "instances.json").is_file():
        pytest.skip(f"../shared/real/{name} is absent: sample of real photographs")
    return folder


def _coco_sample():
    folder = _folder("coco_sample")
    return {
        "kind": "coco",
        "annotations": str(folder / "instances.json"),
        "more_annotations": [str(folder / "person_keypoints.json")],
        "images": str(folder / "images"),
    }


def _objects(source):
    for photograph in open_source({**source, "maskless": "keep"}):
        for entry in photograph.objects:
            yield photograph, entry


@pytest.mark.parametrize("name", ["animals", "coco_sample"])
def test_mirrored_keypoints_give_mirrored_values(name):
    source = {"kind": "animal_pose", "folder": str(_folder(name))} if name == "animals" else _coco_sample()
    counts: Counter[str] = Counter()
    for photograph, entry in _objects(source):
        size = (photograph.width, photograph.height)
        try:
            points = read_keypoints(entry.attributes, entry.category, *size)
        except InputError:
            counts["outside"] += 1
            continue
        if points is None:
            continue
        other = mirrored_keypoints(points, photograph.width)
        names = list(other.points)
        flat = [v for n in names for v in (*other.points[n], 2 if n in other.visible else 1)]
        # What is not labelled is told, too, so that the kind of the keypoints is known.
        missing = [n for n in entry.attributes["keypoint_names"] if n not in names]
        annotation = {"keypoints": flat + [0, 0, 0] * len(missing), "keypoint_names": names + missing}
        x0, y0, x1, y1 = entry.box_xyxy_px
        mirrored_box = (photograph.width - x1, y0, photograph.width - x0, y1)
        values = annotation_attributes(entry.attributes, entry.box_xyxy_px, None, *size, entry.category, names=VIEWS)
        found = annotation_attributes(annotation, mirrored_box, None, *size, entry.category, names=VIEWS)
        assert found == {n: ATTRIBUTES[n].mirrored(value) for n, value in values.items()}, entry.where
        counts.update(values.keys())
    if name == "animals":
        assert counts["outside"] == 19
        assert counts["animal_view"] > 2900
        assert counts["animal_posture"] > 1200
    else:
        assert counts["outside"] == 0
        assert counts["person_facing"] > 150
        assert counts["person_extent"] > 200


def test_a_data_set_of_persons(tmp_path):
    annotated = annotate(_coco_sample(), tmp_path, attributes=["person_facing"], min_members=8, progress=False)
    assert {p.category for p in annotated.patterns} == {"person"}
    facings = [p.attributes["person_facing"] for p in annotated.patterns]
    assert {"front", "back"} <= set(facings)
    cutouts = CutoutSet(tmp_path / "cutouts")
    assert set(annotated.members) <= set(cutouts.column("id"))
    assert annotated.known["person"]["person_facing"] == sum("person_facing" in row for row in _values(cutouts))


def _values(cutouts):
    rows = cutout_attributes(cutouts, ["person_facing"], defects=Defects(skip=False), progress=False)
    return [row for row, category in zip(rows, cutouts.column("category"), strict=True) if category == "person"]


def test_boxes_and_masks_agree_on_truncation():
    """Most of the masked animals are cut off as their rectangles are: masks say less where a rectangle just touches."""
    folder = _folder("animals")
    source = {"kind": "animal_pose", "folder": str(folder)}
    raw = {str(a["id"]): a for a in json.loads((folder / "instances.json").read_text())["annotations"]}
    same = total = 0
    for photograph, entry in _objects(source):
        if not entry.mask or total == 300:
            continue
        size = (photograph.width, photograph.height)
        number = entry.id.split("/")[1]
        box, mask = decode_mask(raw[number]["segmentation"], *size, where=entry.where)
        by_box = annotation_attributes({}, entry.box_xyxy_px, None, *size, entry.category, names=["truncation"])
        by_mask = annotation_attributes({}, box, np.asarray(mask), *size, entry.category, names=["truncation"])
        same += by_box == by_mask
        total += 1
    assert total == 300
    assert same > 0.8 * total
