"""PASCAL VOC folders with masks and PASCAL3D+'s viewpoints, made here."""

import numpy as np
import pytest
import scipy.io
from PIL import Image

from fos_jax.cutouts.cutting import cut_objects
from fos_jax.cutouts.records import NO_MASK, Defects
from fos_jax.cutouts.sources.voc import VocSource
from fos_jax.errors import InputError
from fos_jax.patterns.annotations.reading import annotation_attributes

BOXES = {1: (10, 5, 49, 44), 2: (60, 20, 100, 60)}  # as VOC counts: from 1, the last pixel inside


def _xml(name, boxes=BOXES, *, size=(100, 60)):
    objects = "".join(
        f"<object><name>car</name><pose>{'Left' if k == 1 else 'Unspecified'}</pose><truncated>{k - 1}</truncated>"
        f"<difficult>0</difficult><bndbox><xmin>{b[0]}</xmin><ymin>{b[1]}</ymin><xmax>{b[2]}</xmax><ymax>{b[3]}</ymax>"
        "</bndbox></object>"
        for k, b in boxes.items()
    )
    return (
        f"<annotation><filename>{name}.jpg</filename><size><width>{size[0]}</width><height>{size[1]}</height>"
        f"<depth>3</depth></size>{objects}</annotation>"
    )


def _viewpoint(**fields):
    return {
        "azimuth": 0.0,
        "elevation": 0.0,
        "azimuth_coarse": 270.0,
        "elevation_coarse": 30.0,
        "distance": 0.0,
    } | fields


def _objects(*entries):
    """A MATLAB struct array, as PASCAL3D+ stores the objects of a photograph."""
    rows = np.zeros((1, len(entries)), [("class", "O"), ("bbox", "O"), ("viewpoint", "O")])
    for i, (name, box, view) in enumerate(entries):
        rows[0, i] = (name, np.array(box, float), view)
    return {"record": {"filename": "a.jpg", "objects": rows}}


@pytest.fixture
def voc(tmp_path):
    for folder in ("Annotations", "JPEGImages", "SegmentationObject"):
        (tmp_path / folder).mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 256, (60, 100, 3), np.uint8)).save(tmp_path / "JPEGImages" / f"{name}.jpg")
        (tmp_path / "Annotations" / f"{name}.xml").write_text(_xml(name))
    index = np.full((60, 100), 255, np.uint8)  # VOC's border around objects
    index[8:56, 8:96] = 0
    for number, (x0, y0, x1, y1) in BOXES.items():
        index[y0 - 1 : y1, x0 - 1 : x1] = number
    image = Image.new("P", (100, 60))
    image.putpalette([v for i in range(256) for v in (i * 7 % 256, i * 13 % 256, i * 29 % 256)])
    image.putdata(index.ravel().tolist())
    image.save(tmp_path / "SegmentationObject" / "a.png")
    return tmp_path


def test_objects_masks_and_fields(voc):
    with pytest.raises(InputError, match=r"b\.png: is missing"):
        list(VocSource(voc))
    photographs = list(VocSource(voc, maskless="keep"))
    assert [(p.id, p.path, p.width, p.height) for p in photographs] == [
        ("a", "a.jpg", 100, 60),
        ("b", "b.jpg", 100, 60),
    ]
    first, second = photographs[0].objects
    assert (first.id, first.category, first.box_xyxy_px) == ("a/1", "car", (9, 4, 49, 44))
    assert first.attributes == {"pose": "Left", "truncated": "0", "difficult": "0"}
    assert second.box_xyxy_px == (59, 19, 100, 60)
    assert [entry.mask == NO_MASK for entry in photographs[1].objects] == [True, True]
    source = VocSource(voc, maskless="leave_out")
    assert len(list(source)) == 1
    assert source.left_out == {"no mask": 2}
    cutouts = list(cut_objects(photographs[0], source.root, source.mask_root, defects=Defects(skip=False)))
    assert [cutout.box_xyxy_px for cutout in cutouts] == [(9, 4, 49, 44), (59, 19, 100, 60)]
    assert all((cutout.rgba[..., 3] == 255).all() for cutout in cutouts)
    values = [
        annotation_attributes(c.attributes, c.box_xyxy_px, c.rgba[..., 3] > 0, 100, 60, c.category) for c in cutouts
    ]
    assert values[0] == {
        "truncation": "none",
        "truncation_extent": "none",
        "voc_pose": "left",
        "voc_truncated": "whole",
    }
    assert values[1] == {"truncation": "several", "truncation_extent": "full", "voc_truncated": "truncated"}


def test_viewpoints_are_those_of_the_rectangle(voc):
    folder = voc / "views" / "car_pascal"
    folder.mkdir(parents=True)
    fine = _viewpoint(azimuth=88.0, elevation=12.0, distance=5.0)
    scipy.io.savemat(
        folder / "a.mat",
        _objects(("car", (61, 20, 99, 60), fine), ("bus", BOXES[1], fine), ("car", BOXES[1], _viewpoint())),
    )
    (a, b) = list(VocSource(voc, maskless="keep", viewpoints=voc / "views"))
    found = [
        annotation_attributes(e.attributes, e.box_xyxy_px, None, 100, 60, "car", names=["azimuth", "elevation"])
        for e in a.objects
    ]
    assert found == [{"azimuth": "right", "elevation": "high"}, {"azimuth": "left", "elevation": "low"}]
    assert "azimuth_deg" not in b.objects[0].attributes  # no file of that photograph


def test_one_object_and_one_without_a_viewpoint(voc):
    folder = voc / "views" / "car_pascal"
    folder.mkdir(parents=True)
    scipy.io.savemat(
        folder / "a.mat", {"record": {"objects": {"class": "car", "bbox": BOXES[1], "viewpoint": _viewpoint()}}}
    )
    scipy.io.savemat(folder / "b.mat", _objects(("car", BOXES[1], np.array([])), ("car", BOXES[2], np.array([]))))
    (a, b) = list(VocSource(voc, maskless="keep", viewpoints=voc / "views"))
    assert a.objects[0].attributes["azimuth_deg"] == 270
    assert "azimuth_deg" not in b.objects[0].attributes


@pytest.mark.parametrize(
    "contents",
    [b"", b"MATLAB 5.0 MAT-file" + bytes(200), None, {"record": 3}, {"other": 1}, {"record": {"objects": 7}}],
)
def test_viewpoint_files_that_are_none(voc, contents):
    folder = voc / "views" / "car_pascal"
    folder.mkdir(parents=True)
    if contents is None:
        contents = _objects(("car", (1, 2), _viewpoint()), ("car", BOXES[1], _viewpoint()))
    if isinstance(contents, bytes):
        (folder / "a.mat").write_bytes(contents)
    else:
        scipy.io.savemat(folder / "a.mat", contents)
    with pytest.raises(InputError, match=r"a\.mat: not an annotation of PASCAL3D\+") as caught:
        list(VocSource(voc, maskless="keep", viewpoints=voc / "views"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation>", "a.xml: not XML"),
        ('<!DOCTYPE x [<!ENTITY a "aa">]><annotation/>', "with a document type"),
        ("<annotation/>", "size/width is None, expected a number"),
        (_xml("../a"), "leaves the folder"),
        (_xml("a", {1: (200, 5, 220, 44)}), r"object\[1\].bndbox: .* inside the image"),
        (_xml("a", {1: ("x", 5, 220, 44)}), r"object\[1\]: bndbox/xmin is 'x', expected a number"),
        (_xml("a").replace("<name>car</name>", "<name/>"), r"object\[1\].name: got '', expected text"),
    ],
)
def test_defects_are_one_line_or_counted(voc, text, message):
    (voc / "Annotations" / "a.xml").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        list(VocSource(voc, maskless="keep"))
    assert "\n" not in str(caught.value)
    source = VocSource(voc, maskless="keep", skip_defects=True)
    assert [photograph.id for photograph in source] == ["b"]
    assert source.defects.counts == {"defective annotation": 1}


def test_masks_that_do_not_match(voc):
    def cut():
        source = VocSource(voc, maskless="leave_out")
        return list(cut_objects(next(iter(source)), source.root, source.mask_root, defects=Defects(skip=False)))

    path = voc / "SegmentationObject" / "a.png"
    Image.fromarray(np.ones((60, 50), np.uint8)).save(path)
    with pytest.raises(InputError, match="not the shape of a photograph"):
        cut()
    Image.fromarray(np.zeros((60, 100), np.uint8)).save(path)
    with pytest.raises(InputError, match="the mask covers no pixel"):
        cut()
    Image.fromarray(np.zeros((60, 100, 3), np.uint8)).save(path)
    with pytest.raises(InputError, match="mode RGB, expected a PNG with a palette or in grey"):
        cut()
    path.write_bytes(b"no picture")
    with pytest.raises(InputError, match="not an image"):
        cut()


def test_no_such_folder(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        VocSource(tmp_path / "none")
    for name in ("Annotations", "JPEGImages"):
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="no annotation found"):
        VocSource(tmp_path)
