import json

import numpy as np
import pytest
from PIL import Image

from fos_jax.errors import InputError
from fos_jax.gallery.sources import CocoCutouts

CATEGORIES = ("car", "plant")


def _annotations():
    """One photograph of 40 x 30 px with a polygon, runs and what is left out."""
    square = [10, 5, 30, 5, 30, 25, 10, 25]
    runs = [0, 30 * 20, 30 * 20]  # the left half of the frame
    return {
        "licenses": [{"id": 7, "name": "CC BY"}],
        "categories": [{"id": 3, "name": "car"}, {"id": 64, "name": "potted plant"}, {"id": 9, "name": "boat"}],
        "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 30, "license": 7}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 3, "bbox": [10, 5, 20, 20], "segmentation": [square], "iscrowd": 0},
            {
                "id": 2,
                "image_id": 1,
                "category_id": 64,
                "bbox": [0, 0, 20, 30],
                "segmentation": {"size": [30, 40], "counts": runs},
            },
            {
                "id": 3,
                "image_id": 1,
                "category_id": 3,
                "bbox": [0, 0, 20, 30],
                "segmentation": {"size": [30, 40], "counts": runs},
                "iscrowd": 1,
            },
            {"id": 4, "image_id": 1, "category_id": 9, "bbox": [0, 0, 20, 30], "segmentation": [square]},
            {"id": 5, "image_id": 1, "category_id": 3, "bbox": [0, 0, 4, 3], "segmentation": [square]},
        ],
    }


@pytest.fixture
def write(tmp_path):
    """Writes annotations beside a photograph and opens them."""
    photograph = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    (tmp_path / "images").mkdir()
    Image.fromarray(photograph).save(tmp_path / "images" / "a.png")

    def open_source(annotations, **options):
        path = tmp_path / "instances.json"
        path.write_text(annotations if isinstance(annotations, str) else json.dumps(annotations))
        options = {
            "categories": CATEGORIES,
            "category_names": {"potted plant": "plant"},
            "min_side_px": 16,
            **options,
        }
        return CocoCutouts(path, tmp_path / "images", **options)

    open_source.photograph = photograph
    return open_source


def test_polygons_and_runs_become_alpha_and_the_rest_is_counted(write):
    source = write(_annotations())
    car, plant = source
    assert (car.id, car.category, car.licence, car.source_id) == ("a/1", "car", "CC BY", "a.png")
    assert plant.category == "plant"
    np.testing.assert_array_equal(car.rgba[..., :3], write.photograph[5:25, 10:30])
    assert (car.rgba[..., 3] == 255).all()
    assert (plant.rgba[..., 3] == 255).mean() == 1.0
    assert car.truncated == ()
    assert plant.truncated == ("left", "top", "bottom")  # the left half of the frame
    assert source.skipped == {"crowd": 1, "other category": 1, "smaller than 16 px": 1}
    assert len(list(source)) == len(source) == 2  # a second pass gives the same


def test_every_category_where_none_is_named(write):
    assert [record.category for record in write(_annotations(), categories=None)] == ["car", "plant", "boat"]


def _drop(annotations, *path):
    *parents, last = path
    for key in parents:
        annotations = annotations[key]
    del annotations[last]


def _set(value, *path):
    def change(annotations):
        *parents, last = path
        for key in parents:
            annotations = annotations[key]
        annotations[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: _drop(a, "images"), "images is missing"),
        (lambda a: _drop(a, "images", 0, "width"), r"images\[0\]\.width"),
        (_set("30", "images", 0, "height"), r"images\[0\]\.height"),
        (_set(0, "images", 0, "height"), r"images\[0\]\.height"),
        (_set(7, "images", 0), r"images\[0\]: got 7"),
        (lambda a: a["images"].append(a["images"][0]), r"images\[1\]: id '1' is there twice"),
        (_set([{"id": 1, "name": "cat"}], "categories"), "none is named"),
        (lambda a: _drop(a, "annotations", 0, "bbox"), r"annotations\[0\]\.bbox: is missing"),
        (_set(5, "annotations", 0), r"annotations\[0\]: got 5"),
        (_set(99, "annotations", 0, "image_id"), r"annotations\[0\]\.image_id: 99"),
        (_set(99, "annotations", 0, "category_id"), r"annotations\[0\]\.category_id: 99"),
        (_set([], "annotations", 0, "category_id"), r"annotations\[0\]\.category_id: \[\]"),
        (_set([0, 0, 0, 9], "annotations", 0, "bbox"), r"annotations\[0\]\.bbox: got"),
        (_set([90, 90, 9, 9], "annotations", 0, "bbox"), r"annotations\[0\]\.bbox: got"),
        (_set("../a.png", "images", 0, "file_name"), r"images\[0\]\.file_name: '\.\./a\.png' leaves the folder"),
        (_set("/etc/passwd", "images", 0, "file_name"), "leaves the folder"),
        (_set("b.png", "images", 0, "file_name"), r"b\.png: cannot be read"),
        (_set(41, "images", 0, "width"), r"a\.png: 40 x 30 px, but annotated as 41 x 30"),
        (_set([[11, 5, 30, 5]], "annotations", 0, "segmentation"), r"annotations\[0\]\.segmentation\[0\]"),
        (_set([], "annotations"), "no usable object"),
    ],
)
def test_defects_are_named_by_file_and_field(write, change, message):
    annotations = _annotations()
    change(annotations)
    with pytest.raises(InputError, match=message):
        list(write(annotations))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000])
def test_files_that_are_not_coco(write, text):
    with pytest.raises(InputError, match=r"instances\.json"):
        write(text)


def test_missing_files(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        CocoCutouts(tmp_path / "i.json", tmp_path / "images", categories=CATEGORIES)
    with pytest.raises(InputError, match=r"i\.json: cannot be read"):
        CocoCutouts(tmp_path / "i.json", tmp_path, categories=CATEGORIES)


def test_defects_can_be_skipped_and_are_counted(write, tmp_path):
    annotations = _annotations()
    annotations["annotations"][0]["segmentation"] = [[0, 0]]
    annotations["images"].append({"id": 2, "file_name": "gone.png", "width": 40, "height": 30})
    annotations["annotations"] += [{**annotations["annotations"][1], "id": 10 + i, "image_id": 2} for i in range(2)] + [
        {"id": 20, "image_id": 3, "category_id": 3, "bbox": [0, 0, 20, 30], "segmentation": [[0, 0, 9, 9, 0, 9]]}
    ]
    source = write(annotations, skip_defects=True)
    assert [record.id for record in source] == ["a/2"]
    assert source.skipped["unusable mask"] == 1
    assert source.skipped["unknown image"] == 1
    assert source.skipped["unusable photograph"] == 1
