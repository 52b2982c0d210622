import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from fos_jax.errors import InputError
from fos_jax.retrieval.coco import CocoCutouts
from fos_jax.retrieval.coco_masks import decode_mask

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
    assert (car.rgba[..., 3] == 255).mean() > 0.9
    assert (plant.rgba[..., 3] == 255).mean() == 1.0
    assert source.skipped == {"crowd": 1, "other category": 1, "smaller than 16 px": 1}
    assert len(list(source)) == len(source) == 2  # a second pass gives the same


def test_runs_by_hand():
    mask = decode_mask({"size": [2, 3], "counts": [1, 2, 3]}, 3, 2, where="x")
    np.testing.assert_array_equal(mask, [[0, 1, 0], [1, 0, 0]])  # down the columns


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**31), st.floats(0, 1))
def test_compressed_runs_against_pycocotools(width, height, seed, density):
    mask = np.random.default_rng(seed).random((height, width)) < density
    runs = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    for counts in (runs["counts"], runs["counts"].decode()):
        decoded = decode_mask({"size": [height, width], "counts": counts}, width, height, where="x")
        np.testing.assert_array_equal(decoded, mask)


def test_long_runs_against_pycocotools():
    mask = np.zeros((700, 900), np.uint8)
    mask[3:650, 10:800] = 1
    runs = coco_mask.encode(np.asfortranarray(mask))
    np.testing.assert_array_equal(decode_mask(runs, 900, 700, where="x"), mask.astype(bool))


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (None, "expected polygons"),
        ([], "expected polygons"),
        ("abc", "expected polygons"),
        ([[0, 0, 5, 5]], "at least three points"),
        ([[0, 0, 5, 5, 9]], "at least three points"),
        ([[0, 0, 5, 5, 9, 0, 1]], "at least three points"),
        ([0, 0, 5, 5], "at least three points"),
        ([[0, 0, 5, float("nan"), 9, 0]], "far outside"),
        ([[0, 0, 5, 1e9, 9, 0]], "far outside"),
        ([[0, 0, 5, "a", 9, 0]], "far outside"),
        ({"size": [4, 3], "counts": [12]}, "size is"),
        ({"counts": [12]}, "size is None"),
        ({"size": [3, 4], "counts": [3, 5]}, "sum to 8, expected 4 x 3 = 12"),
        ({"size": [3, 4], "counts": [13]}, "sum to 13"),
        ({"size": [3, 4], "counts": [-1, 13]}, "run lengths"),
        ({"size": [3, 4], "counts": [1.5]}, "run lengths"),
        ({"size": [3, 4]}, "run lengths"),
        ({"size": [3, 4], "counts": ""}, "sum to 0"),
        ({"size": [3, 4], "counts": "\u20ac\n"}, "not compressed"),
        ({"size": [3, 4], "counts": "P"}, "end within"),
        ({"size": [3, 4], "counts": "o" * 40}, "not compressed"),
    ],
)
def test_masks_that_are_none(segmentation, message):
    with pytest.raises(InputError, match=message) as caught:
        decode_mask(segmentation, 4, 3, where="f.json: annotations[3].segmentation")
    assert str(caught.value).startswith("f.json: annotations[3].segmentation")


@given(st.binary(max_size=12))
def test_any_bytes_as_counts_raise_or_cover_the_frame(data):
    try:
        mask = decode_mask({"size": [3, 4], "counts": data}, 4, 3, where="x")
    except InputError:
        return
    assert mask.shape == (3, 4)


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
        (_set(0, "images", 0, "height"), r"images\[0\]: 40 x 0 px"),
        (_set(7, "images", 0), r"images\[0\]\.id"),
        (_set({}, "licenses"), "licenses is a dict"),
        (lambda a: a["images"].append(a["images"][0]), r"images\[1\]\.id 1 is there twice"),
        (_set([{"id": 1, "name": "cat"}], "categories"), "none is named"),
        (lambda a: _drop(a, "annotations", 0, "bbox"), r"annotations\[0\]: bbox is missing"),
        (_set(5, "annotations", 0), r"annotations\[0\]: id is missing"),
        (_set(99, "annotations", 0, "image_id"), r"annotations\[0\]: image_id 99"),
        (_set(99, "annotations", 0, "category_id"), r"annotations\[0\]: category_id 99"),
        (_set([], "annotations", 0, "category_id"), r"annotations\[0\]: category_id \[\]"),
        (_set([0, 0, 0, 9], "annotations", 0, "bbox"), r"annotations\[0\]\.bbox: got"),
        (_set([90, 90, 9, 9], "annotations", 0, "bbox"), r"annotations\[0\]\.bbox: got"),
        (_set("../a.png", "images", 0, "file_name"), r"\.\./a\.png: leaves the folder"),
        (_set("/etc/passwd", "images", 0, "file_name"), "leaves the folder"),
        (_set("b.png", "images", 0, "file_name"), r"b\.png: cannot be read"),
        (_set([], "images", 0, "license"), r"images\[0\]\.license"),
        (_set(41, "images", 0, "width"), r"a\.png: 40 x 30 px, but .*annotations\[0\] expects 41 x 30"),
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
    assert source.skipped["defective annotation"] == 2
    assert source.skipped["unusable photograph"] == 2
