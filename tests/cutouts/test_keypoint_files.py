"""Masks, boxes and keypoints in several COCO files, and Animal Pose as it was released."""

import json

import numpy as np
import pytest
from PIL import Image

from fos_jax.cutouts.records import NO_MASK
from fos_jax.cutouts.sources import open_source
from fos_jax.cutouts.sources.coco import CocoSource
from fos_jax.errors import InputError

POINTS = [10, 10, 2, 20, 10, 0]


def _write(path, value):
    path.write_text(json.dumps(value))
    return path


@pytest.fixture
def pair(coco_folder, tmp_path):
    """Two photographs with two objects each, and a second file with keypoints of the first three."""
    path, images = coco_folder(photographs=2, objects=2)
    more = {
        "categories": [{"id": 7, "name": "car", "keypoints": ["lamp", "wheel"]}, {"id": 9, "name": "boat"}],
        "annotations": [
            {"id": k, "image_id": k // 2, "keypoints": POINTS, "azimuth_deg": 1.0, "num_keypoints": 1} for k in range(3)
        ],
    }
    return path, images, more, tmp_path / "keypoints.json"


def _objects(source):
    try:
        return [entry for photograph in source for entry in photograph.objects]
    finally:
        source.close()


def test_fields_of_a_second_file_are_added(pair):
    path, images, more, second = pair
    found = _objects(CocoSource(path, images, more_annotations=[_write(second, more)]))
    assert [entry.attributes.get("keypoints") for entry in found] == [POINTS, POINTS, POINTS, None]
    assert [entry.attributes.get("keypoint_names") for entry in found] == [None, ["lamp", "wheel"], None, None]
    assert {entry.attributes["azimuth_deg"] for entry in found} == {45.0}  # the first file's stays
    assert [entry.category for entry in found] == [entry.category for entry in _objects(CocoSource(path, images))]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["annotations"][1].update(id=99), r"annotations\[1\].id: is not among those of"),
        (lambda m: m["annotations"][1].update(image_id=1), r"annotations\[1\]: image_id or category_id differ"),
        (lambda m: m["annotations"][1].pop("id"), r"annotations\[1\].id: is missing"),
        (lambda m: m["categories"][0].update(name="ship"), r"categories\[0\]: 7 is 'ship', which is not the category"),
        (
            lambda m: m["categories"][0].update(keypoints=3),
            r"categories\[0\].keypoints: got 3, expected a list of names",
        ),
    ],
)
def test_a_second_file_of_something_else_is_one_line(pair, change, message):
    path, images, more, second = pair
    change(more)
    with pytest.raises(InputError, match=message):
        CocoSource(path, images, more_annotations=[_write(second, more)])


def test_unknown_annotations_are_counted(pair):
    path, images, more, second = pair
    more["annotations"][1]["id"] = 99
    source = CocoSource(path, images, more_annotations=[_write(second, more)], skip_defects=True)
    assert len(_objects(source)) == 4
    assert source.defects.counts == {"unknown annotation": 1}


def test_objects_without_masks(coco_folder):
    def change(raw):
        del raw["annotations"][0]["segmentation"]
        raw["annotations"][1]["segmentation"] = []
        raw["images"][0]["split"] = "val"

    path, images = coco_folder(photographs=2, objects=2, change=change)
    with pytest.raises(InputError, match=r"annotations\[0\].segmentation: is missing"):
        _objects(CocoSource(path, images))
    left = CocoSource(path, images, maskless="leave_out")
    assert len(_objects(left)) == 2
    assert left.left_out == {"no mask": 2}
    kept = list(CocoSource(path, images, maskless="keep"))
    assert [entry.mask == NO_MASK for photograph in kept for entry in photograph.objects] == [True, True, False, False]
    assert [photograph.split for photograph in kept] == ["val", ""]
    with pytest.raises(InputError, match="maskless: got 'maybe', expected one of refuse, leave_out, keep"):
        CocoSource(path, images, maskless="maybe")


@pytest.fixture
def animal_pose(tmp_path):
    """A folder as it was released, and its contents."""
    (tmp_path / "images").mkdir()
    raw = {"images": {}, "annotations": [], "categories": [{"id": 1, "name": "dog", "keypoints": ["nose", "withers"]}]}
    for number in (1, 2):
        Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save(tmp_path / "images" / f"{number}.jpg")
        raw["images"][str(number)] = f"{number}.jpg"
        raw["annotations"].append(
            {"image_id": number, "bbox": [5, 6, 45, 56], "keypoints": [[9, 8, 1], [0, 0, 0]], "category_id": 1}
        )
    return tmp_path, raw


def test_animal_pose_as_released(animal_pose):
    folder, raw = animal_pose
    _write(folder / "keypoints.json", raw)
    photographs = list(open_source({"kind": "animal_pose", "folder": str(folder), "maskless": "keep"}))
    assert [(p.id, p.path, p.width, p.height) for p in photographs] == [("1", "1.jpg", 80, 60), ("2", "2.jpg", 80, 60)]
    (entry,) = photographs[1].objects
    assert (entry.id, entry.category, entry.box_xyxy_px, entry.mask) == ("2/1", "dog", (5, 6, 45, 56), NO_MASK)
    assert entry.attributes == {"keypoints": [9, 8, 2, 0, 0, 0], "keypoint_names": ["nose", "withers"]}
    with pytest.raises(InputError, match="has no masks, nothing can be cut out"):
        list(open_source({"kind": "animal_pose", "folder": str(folder)}))
    source = open_source({"kind": "animal_pose", "folder": str(folder), "maskless": "leave_out"})
    assert list(source) == []
    assert source.left_out == {"no mask": 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r["images"].update({"2": "../2.jpg"}), "leaves the folder"),
        (lambda r: r["images"].update({"2": "9.jpg"}), "9.jpg: cannot be read as an image"),
        (lambda r: r["annotations"][1].update(bbox=[1, 2, 3]), r"annotations\[1\]: expected bbox of four numbers"),
        (lambda r: r["annotations"][1].update(bbox=[90, 2, 99, 9]), r"annotations\[1\].bbox: .* inside the image"),
        (lambda r: r["annotations"][1].update(keypoints=[1, 2]), "keypoints of three each"),
        (lambda r: r["annotations"][1].update(category_id=4), r"category_id: 4 is not among the categories"),
        (lambda r: r["annotations"][1].update(image_id=4), r"image_id: 4 is not among the images"),
        (lambda r: r.pop("annotations"), "annotations is None, expected a list"),
        (lambda r: r.pop("images"), "not JSON with images"),
    ],
)
def test_defects_of_animal_pose_are_one_line(animal_pose, change, message):
    folder, raw = animal_pose
    change(raw)
    _write(folder / "keypoints.json", raw)
    with pytest.raises(InputError, match=message):
        list(open_source({"kind": "animal_pose", "folder": str(folder), "maskless": "keep"}))


def test_animal_pose_in_cocos_format_takes_its_masks_along(coco_folder, tmp_path):
    path, _ = coco_folder(photographs=1, objects=2)
    raw = json.loads(path.read_text())
    _write(path, {**raw, "annotations": raw["annotations"][:1]})  # one object has a mask
    for annotation in raw["annotations"]:
        del annotation["segmentation"]
        annotation["keypoints"] = POINTS
    _write(tmp_path / "keypoints.json", raw)
    found = _objects(open_source({"kind": "animal_pose", "folder": str(tmp_path), "maskless": "keep"}))
    assert [entry.mask == NO_MASK for entry in found] == [False, True]
    assert all(entry.attributes["keypoints"] == POINTS for entry in found)
