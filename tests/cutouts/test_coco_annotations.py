import json

import numpy as np
import pytest
from PIL import Image

from fos_jax.cutouts.cutting import cut_objects
from fos_jax.cutouts.records import Photograph
from fos_jax.cutouts.sources import open_source
from fos_jax.cutouts.sources.coco import CocoSource
from fos_jax.cutouts.sources.folder import FolderSource
from fos_jax.errors import InputError


def _cut(source):
    return [
        cutout
        for photograph in source
        for cutout in cut_objects(photograph, source.root, source.mask_root, defects=source.defects)
    ]


def test_everything_travels_along(coco_folder):
    path, images = coco_folder()
    source = CocoSource(path, images)
    photographs = list(source)
    assert len(source) == len(photographs) == 3
    assert [p.id for p in photographs] == ["0", "1", "2"]
    first = photographs[0]
    assert (first.path, first.width, first.height, first.licence) == ("p0000.png", 96, 80, "CC BY")
    assert [entry.id for entry in first.objects] == ["p0000/0", "p0000/1"]
    assert [entry.category for entry in first.objects] == ["boat", "car"]
    assert first.objects[0].attributes == {"azimuth_deg": 45.0}
    assert list(source) == photographs  # again the same
    assert Photograph.from_json(json.loads(json.dumps(first.to_json()))) == first


def test_cutouts_are_the_photographs_pixels(coco_folder):
    path, images = coco_folder(photographs=1, objects=1)
    source = CocoSource(path, images)
    (cutout,) = _cut(source)
    pixels = np.asarray(Image.open(images / "p0000.png"))
    x0, y0, x1, y1 = cutout.box_xyxy_px
    assert (x1 - x0, y1 - y0) == (50, 40)
    np.testing.assert_array_equal(cutout.rgba[..., :3], pixels[y0:y1, x0:x1])
    assert cutout.rgba[..., 3].min() == 255
    assert cutout.annotated_box_xyxy_px == cutout.box_xyxy_px
    assert cutout.frame_size == (96, 80)
    assert (cutout.source_id, cutout.source_path, cutout.licence) == ("0", "p0000.png", "CC BY")


def test_nothing_of_the_background_stays(coco_folder):
    def triangle(raw):
        raw["annotations"][0].update(segmentation=[[10, 10, 60, 10, 10, 50]], bbox=[10, 10, 50, 40])

    source = CocoSource(*coco_folder(photographs=1, objects=1, change=triangle))
    (cutout,) = _cut(source)
    hidden = cutout.rgba[..., 3] == 0
    assert hidden.mean() > 0.3
    assert not cutout.rgba[hidden].any()


def test_lists_in_any_order_and_objects_of_a_photograph_far_apart(coco_folder, tmp_path):
    path, images = coco_folder(photographs=3, objects=2)
    raw = json.loads(path.read_text())
    expected = list(CocoSource(path, images))
    mixed = {key: raw[key] for key in ("annotations", "images", "categories", "licenses")}
    mixed["annotations"] = mixed["annotations"][::2] + mixed["annotations"][1::2]
    other = tmp_path / "mixed.json"
    other.write_text(json.dumps(mixed))
    found = list(CocoSource(other, images))
    assert [[o.id for o in p.objects] for p in found] == [[o.id for o in p.objects] for p in expected]


def test_categories_wanted_and_renamed(coco_folder):
    path, images = coco_folder()
    source = CocoSource(path, images, categories=["ship"], category_names={"boat": "ship"})
    assert {entry.category for photograph in source for entry in photograph.objects} == {"ship"}
    assert source.left_out == {"other category": 3}
    with pytest.raises(InputError, match="none is named dragon; there are boat, car"):
        CocoSource(path, images, categories=["dragon"])
    with pytest.raises(InputError, match="none is named submarine"):
        CocoSource(path, images, categories=["car", "submarine"], category_names={"sub": "submarine"})


def _put(field, value, *, table="annotations", index=1):
    def change(raw):
        raw[table][index][field] = value

    return change


def _drop(field, *, table="annotations", index=1):
    def change(raw):
        del raw[table][index][field]

    return change


ENTRY_DEFECTS = [
    (_put("bbox", [float("nan"), 0, 5, 5]), "annotations[1].bbox"),
    (_put("bbox", [0, 0, 5]), "annotations[1].bbox"),
    (_put("bbox", [0, 0, -5, 5]), "annotations[1].bbox"),
    (_put("bbox", [900, 900, 5, 5]), "annotations[1].bbox"),
    (_put("bbox", "wide"), "annotations[1].bbox"),
    (_drop("bbox"), "annotations[1].bbox"),
    (_drop("segmentation"), "annotations[1].segmentation"),
    (_put("segmentation", None), "annotations[1].segmentation"),
    (_put("segmentation", {"size": [10**5, 10**5], "counts": [10**10]}), "annotations[1].segmentation"),
    (_put("category_id", 12345), "annotations[1].category_id"),
    (_put("category_id", ["car"]), "annotations[1].category_id"),
    (_drop("category_id"), "annotations[1].category_id"),
    (_put("image_id", 999), "annotations[1].image_id"),
    (_put("file_name", "../../etc/passwd", table="images"), "images[1].file_name"),
    (_put("file_name", "/etc/passwd", table="images"), "images[1].file_name"),
    (_put("file_name", "a\x00b", table="images"), "images[1].file_name"),
    (_put("file_name", "\ud800.png", table="images"), "images[1].file_name"),
    (_put("file_name", 5, table="images"), "images[1].file_name"),
    (_put("file_name", "none.png", table="images"), "none.png"),
    (_put("width", 97, table="images"), "p0001.png"),
    (_put("width", 0, table="images"), "images[1].width"),
    (_put("width", float("nan"), table="images"), "images[1].width"),
    (_put("width", float("inf"), table="images"), "images[1].width"),
    (_put("width", 10**9, table="images"), "images[1].width"),
    (_put("height", True, table="images"), "images[1].height"),
    (_drop("height", table="images"), "images[1].height"),
]


@pytest.mark.parametrize(("change", "named"), ENTRY_DEFECTS)
def test_defects_are_named_or_counted(coco_folder, change, named):
    path, images = coco_folder(change=change)
    with pytest.raises(InputError) as caught:
        _cut(CocoSource(path, images))
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    source = CocoSource(path, images, skip_defects=True)
    assert 4 <= len(_cut(source)) <= 5  # the others go through
    assert sum(source.defects.counts.values()) >= 1
    assert any(named in message for message in source.defects.messages)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_put("id", 0), r"annotations\[1\]: id '0' is there twice"),
        (_put("id", 0, table="images"), r"images\[1\]: id '0' is there twice"),
        (_put("id", 7, table="categories"), r"categories\[1\].id: '7' is there twice"),
        (_put("id", None), r"annotations\[1\].id"),
        (_put("id", 2**70), r"annotations\[1\].id"),
        (_put("id", True), r"annotations\[1\].id"),
        (_drop("image_id"), r"annotations\[1\].image_id"),
        (_put("name", "", table="categories"), r"categories\[1\].name"),
        (lambda raw: raw.pop("images"), "images is missing"),
        (lambda raw: raw.update(annotations={}), "annotations is missing"),
        (lambda raw: raw["annotations"].append("text"), r"annotations\[6\]: got 'text'"),
    ],
)
def test_doubtful_files_are_refused_in_any_case(coco_folder, change, named):
    path, images = coco_folder(change=change)
    with pytest.raises(InputError, match=named):
        CocoSource(path, images, skip_defects=True)


def test_a_link_out_of_the_root_is_refused(coco_folder, tmp_path):
    path, images = coco_folder()
    outside = tmp_path / "outside.png"
    (images / "p0001.png").rename(outside)
    (images / "p0001.png").symlink_to(outside)
    with pytest.raises(InputError, match=r"images\[1\].file_name.*leaves the folder"):
        list(CocoSource(path, images))


def test_folder_of_cutouts(tmp_path):
    (tmp_path / "car").mkdir()
    rgba = np.zeros((30, 40, 4), np.uint8)
    rgba[5:25, 10:30] = (200, 10, 10, 255)
    Image.fromarray(rgba).save(tmp_path / "car" / "b.png")
    Image.fromarray(rgba[..., :3]).save(tmp_path / "car" / "a.png")  # no alpha
    source = FolderSource(tmp_path, licence="CC0", skip_defects=True)
    (cutout,) = _cut(source)
    assert (cutout.id, cutout.category, cutout.licence, cutout.frame_size) == ("car/b.png", "car", "CC0", (0, 0))
    assert cutout.rgba.shape == (20, 20, 4)
    assert source.defects.counts == {"unusable mask": 1}
    with pytest.raises(InputError, match="no alpha channel"):
        _cut(FolderSource(tmp_path))
    with pytest.raises(InputError, match="unknown category 'car'"):
        FolderSource(tmp_path, categories=["boat"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no image found"):
        FolderSource(tmp_path / "empty")


def test_opening_by_description(coco_folder):
    path, images = coco_folder()
    source = open_source({"kind": "coco", "annotations": str(path), "images": str(images)})
    assert len(source) == 3
    with pytest.raises(InputError, match="kind is 'video'"):
        open_source({"kind": "video"})
    with pytest.raises(InputError, match="images"):
        open_source({"kind": "coco", "annotations": str(path)})
    with pytest.raises(InputError, match="colour"):
        open_source({"kind": "folder", "root": str(images), "colour": 1})
