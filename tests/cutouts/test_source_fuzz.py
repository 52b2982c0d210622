"""Whatever a file holds: records come out or one line of `InputError`, nothing else, and soon."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fos_jax.cutouts.cutting import cut_objects
from fos_jax.cutouts.sources.coco import CocoSource
from fos_jax.cutouts.sources.open_images import OpenImagesSource
from fos_jax.errors import InputError

_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 60),
    st.integers(),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(["../up.png", "/abs.png", "p.png", "p.png/x", "", "..", "\x00", "\ud800", "a" * 5000, "loop"]),
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
_POLYGON = st.lists(st.one_of(st.floats(-10, 60), st.floats(), st.integers()), max_size=10)
_RUNS = st.fixed_dictionaries(
    {},
    optional={
        "size": st.sampled_from([[20, 30], [30, 20]]) | _VALUES,
        "counts": st.lists(st.integers(-3, 700)) | st.text() | _VALUES,
    },
)


def _mostly(valid):
    return st.one_of(valid, valid, valid, _VALUES)


_IMAGE = st.fixed_dictionaries(
    {},
    optional={
        "id": _mostly(st.integers(0, 2)),
        "file_name": _mostly(st.just("p.png")),
        "width": _mostly(st.just(30)),
        "height": _mostly(st.just(20)),
        "license": _VALUES,
    },
)
_ANNOTATION = st.fixed_dictionaries(
    {},
    optional={
        "id": _mostly(st.integers(0, 50)),
        "image_id": _mostly(st.integers(0, 2)),
        "category_id": _mostly(st.just(1)),
        "bbox": _mostly(st.just([1, 1, 20, 15])),
        "segmentation": st.one_of(st.lists(_POLYGON, max_size=3), _RUNS, _VALUES),
        "iscrowd": _VALUES,
        "keypoints": _VALUES,
    },
)
_FILE = st.fixed_dictionaries(
    {},
    optional={
        "images": _mostly(st.lists(_mostly(_IMAGE), max_size=3)),
        "annotations": _mostly(st.lists(_mostly(_ANNOTATION), max_size=4)),
        "categories": _mostly(st.just([{"id": 1, "name": "car"}])),
        "licenses": _VALUES,
        "info": _VALUES,
    },
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("fuzz")
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(root / "p.png")
    Image.fromarray(pixels[..., 0] > 128).save(root / "m.png")
    (root / "loop").symlink_to("loop")
    return root


def _cut_all(source):
    try:
        for photograph in source:
            for cutout in cut_objects(photograph, source.root, source.mask_root, defects=source.defects):
                assert cutout.rgba.dtype == np.uint8
                assert cutout.rgba[..., 3].any()
                x0, y0, x1, y1 = cutout.box_xyxy_px
                assert 0 <= x0 < x1 <= 30
                assert 0 <= y0 < y1 <= 20
                json.dumps(photograph.to_json())
    finally:
        source.close()


def _only_input_errors(make, skip):
    message = ""
    try:
        _cut_all(make(skip))
    except InputError as error:
        message = str(error)
    assert "\n" not in message
    assert len(message) < 600


@settings(max_examples=150)
@given(raw=_FILE, skip=st.booleans())
def test_any_coco_like_object(folder, raw, skip):
    path = folder / "instances.json"
    path.write_text(json.dumps(raw), "utf-8")
    _only_input_errors(lambda skip: CocoSource(path, folder, skip_defects=skip), skip)


@given(data=st.binary(max_size=60), skip=st.booleans())
def test_any_bytes_as_json(folder, data, skip):
    path = folder / "bytes.json"
    for text in (data, b'{"images": [' + data, b'{"images": [], "annotations": [' + data + b'], "categories": []}'):
        path.write_bytes(text)
        _only_input_errors(lambda skip: CocoSource(path, folder, skip_defects=skip), skip)


@settings(max_examples=100)
@given(data=st.data(), skip=st.booleans())
def test_any_damage_to_a_good_file(folder, data, skip):
    good = json.dumps(
        {
            "images": [{"id": 1, "file_name": "p.png", "width": 30, "height": 20}],
            "annotations": [
                {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "segmentation": [[1, 1, 9, 1, 9, 9]]},
                {
                    "id": 2,
                    "image_id": 1,
                    "category_id": 1,
                    "bbox": [1, 1, 9, 9],
                    "segmentation": {"size": [20, 30], "counts": [21, 9, 570]},
                },
            ],
            "categories": [{"id": 1, "name": "car"}],
        }
    ).encode()
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place : place + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=4) | st.sampled_from([b"NaN", b"-1", b"1e999", b"null"])
        )
    path = folder / "damaged.json"
    path.write_bytes(bytes(damaged))
    _only_input_errors(lambda skip: CocoSource(path, folder, skip_defects=skip), skip)


_FIELD = st.one_of(
    st.sampled_from(["p", "m.png", "/m/1", "b1", "0", "0.2", "0.9", "1", "nan", "-1", "", "../m.png", "1e400", "loop"]),
    st.text(max_size=6),
)


@settings(max_examples=100)
@given(
    rows=st.lists(st.lists(_FIELD, min_size=7, max_size=9), max_size=4), raw=st.binary(max_size=20), skip=st.booleans()
)
def test_any_open_images_table(folder, rows, raw, skip):
    header = b"MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax\n"
    good = b"m.png,p,/m/1,b0,0.1,0.9,0.1,0.9\n"
    table, classes = folder / "table.csv", folder / "classes.csv"
    body = "\n".join(",".join(row) for row in rows).encode("utf-8", "replace")
    table.write_bytes(header + good + body + raw)
    classes.write_text("/m/1,car\n")
    _only_input_errors(lambda skip: OpenImagesSource(table, folder, folder, classes, skip_defects=skip), skip)
    table.write_bytes(header + good)
    classes.write_bytes(raw + body)
    _only_input_errors(lambda skip: OpenImagesSource(table, folder, folder, classes, skip_defects=skip), skip)


@given(data=st.data())
def test_any_damage_to_a_mask_file(folder, data):
    (folder / "masks").mkdir(exist_ok=True)
    damaged = bytearray((folder / "m.png").read_bytes())
    place = data.draw(st.integers(0, len(damaged) - 1))
    damaged[place : place + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    (folder / "masks" / "m.png").write_bytes(bytes(damaged))
    table, classes = folder / "good.csv", folder / "good_classes.csv"
    table.write_text(
        "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax\nm.png,p,/m/1,b,0.1,0.9,0.1,0.9\n"
    )
    classes.write_text("/m/1,car\n")
    _only_input_errors(
        lambda skip: OpenImagesSource(table, folder / "masks", folder, classes, skip_defects=skip), False
    )
