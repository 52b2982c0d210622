"""Photographs without masks, from pictures and a network made here to cut-outs and report."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageFilter

from fos_jax.cutouts import extraction, segmenter
from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.cutouts.extraction import extract
from fos_jax.cutouts.filters import config_with
from fos_jax.errors import InputError

_SIZE = (160, 120)


def _photograph(boxes, *, seed=0, blur=0.0):
    """Grey noise with red rectangles, whose shape and edge a network for red things finds."""
    rng = np.random.default_rng(seed)
    rgb = rng.integers(40, 220, (_SIZE[1], _SIZE[0], 1), np.uint8).repeat(3, 2)
    red = np.zeros(rgb.shape[:2], np.uint8)
    for x0, y0, x1, y1 in boxes:
        red[y0:y1, x0:x1] = 255
    share = np.asarray(Image.fromarray(red).filter(ImageFilter.GaussianBlur(blur)), np.float32)[..., None] / 255
    colour = rng.integers(0, 60, rgb.shape) + np.array([180, 0, 0])
    return Image.fromarray(np.rint(rgb * (1 - share) + colour * share).astype(np.uint8))


_PICTURES = {
    "cup/found.jpg": ([(40, 30, 110, 90)], 0),
    "cup/nothing.jpg": ([], 0),
    "cup/pieces.jpg": ([(20, 20, 60, 60), (90, 50, 130, 90)], 0),
    "lamp/soft.png": ([(50, 40, 90, 80)], 12),
    "lamp/large.png": ([(0, 0, 160, 120)], 0),
    "lamp/little.bmp": ([(50, 50, 70, 60)], 0),
}
_REASONS = {
    "cup/found.jpg": "",
    "cup/nothing.jpg": "not_found",
    "cup/pieces.jpg": "fragmented",
    "lamp/soft.png": "soft_edge",
    "lamp/large.png": "truncated",
    "lamp/little.bmp": "size",
}


@pytest.fixture
def pictures(tmp_path):
    for seed, (name, (boxes, blur)) in enumerate(_PICTURES.items()):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _photograph(boxes, seed=seed, blur=blur).save(path, quality=95)
    return tmp_path / "pictures"


def _source(folder, file, **more):
    return {"kind": "folder", "root": str(folder), "segmenter": {"file": str(file)}, **more}


def _extract(folder, source, changes=(), **options):
    return extract(folder, source, config_with(dict(changes)), photographs_per_shard=2, progress=False, **options)


def _files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_program_on_a_folder_of_whole_pictures(pictures, segmenter_file, tmp_path):
    command = [sys.executable, "-m", "fos_jax.launch.cutouts", "--source=folder", f"--images={pictures}"]
    command += [f"--segmenter={segmenter_file()}", f"--output={tmp_path}/out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    index = pq.read_table(tmp_path / "out" / "index.parquet")
    assert dict(zip(index["id"].to_pylist(), index["rejected_by"].to_pylist(), strict=True)) == _REASONS
    cutouts = CutoutSet(tmp_path / "out")
    assert cutouts.column("category") == ["cup"]
    x0, y0, x1, y1 = cutouts.column("box_xyxy_px")[0]
    ((_, rgba),) = cutouts.pictures()
    mask = np.zeros((120, 160), bool)
    mask[y0:y1, x0:x1] = rgba[..., 3] >= 128
    truth = np.zeros_like(mask)
    truth[30:90, 40:110] = True
    assert np.count_nonzero(mask & truth) > 0.95 * np.count_nonzero(mask | truth)
    assert not rgba[..., :3][rgba[..., 3] == 0].any()
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    for reason in filter(None, _REASONS.values()):
        assert f"<h2>{reason}: 1</h2>" in page
    assert page.count("data:image/jpeg;base64,") == 6
    assert "masks by red.onnx (u2net, 320 x 320 px, sha256 " in page
    assert {"softness", "response"} <= json.loads((tmp_path / "out" / "report.json").read_text())["measures"].keys()


def test_a_rejected_picture_lies_beside_what_was_found(pictures, segmenter_file, tmp_path):
    _extract(tmp_path / "out", _source(pictures, segmenter_file()))
    table = pq.read_table(tmp_path / "out" / "shards" / "cutouts-00001.parquet", columns=["id", "example"])
    examples = dict(zip(table["id"].to_pylist(), table["example"].to_pylist(), strict=True))
    picture = np.asarray(Image.open(io.BytesIO(examples["cup/pieces.jpg"])), int)
    assert picture.shape == (96, 196, 3)
    there, found = picture[:, :96], picture[:, 100:]  # 96 x 72 px in squares
    for half in (there, found):
        assert half[36, 24, 0] - half[36, 24, 1] > 60
        assert np.abs(half[:10] - 232).max() < 12
    assert np.abs(found[68:82, :20] - 128).max() < 12  # nothing of the background
    assert there[68:82, :20].std() > 15


def test_thresholds_decide(pictures, segmenter_file, tmp_path):
    file = segmenter_file()
    changes = {"soft_edge.max_softness": 9.0, "fragmented.min_largest_part": 0.4, "size.min_area_px": 100}
    changes |= {
        "size.min_short_side_px": 5,
        "size.min_long_side_px": 5,
        "truncated.max_sides": 4,
        "exposure.min_contrast": 0.0,
    }
    assert _extract(tmp_path / "all", _source(pictures, file), changes)["counts"] == {"kept": 5, "not_found": 1}
    strict = {**changes, "fragmented.max_parts": 1, "not_found.min_response": 1.5}
    assert _extract(tmp_path / "none", _source(pictures, file), strict)["counts"] == {"not_found": 6}
    single = {**changes, "fragmented.max_parts": 1}
    found = _extract(tmp_path / "single", _source(pictures, file), single)["counts"]
    assert found == {"kept": 4, "not_found": 1, "fragmented": 1}


@pytest.fixture
def boxes_only(tmp_path):
    """Two red things in one photograph, and an annotated rectangle with nothing in it."""
    (tmp_path / "images").mkdir()
    _photograph([(10, 10, 65, 60), (90, 40, 150, 110)]).save(tmp_path / "images" / "p.png")
    rectangles = {"left": [8, 8, 60, 55], "right": [88, 38, 64, 74], "empty": [10, 65, 60, 50]}
    raw = {
        "images": [{"id": 1, "file_name": "p.png", "width": 160, "height": 120}],
        "categories": [{"id": 1, "name": "cup"}],
        "annotations": [{"id": name, "image_id": 1, "category_id": 1, "bbox": box} for name, box in rectangles.items()],
    }
    # A mask that is there, or is not one, makes no difference.
    raw["annotations"][0]["segmentation"] = [[100, 5, 150, 5, 150, 35, 100, 35]]
    raw["annotations"][1]["segmentation"] = []
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(raw))
    return {"kind": "coco", "annotations": str(path), "images": str(tmp_path / "images")}


def test_inside_given_boxes(boxes_only, segmenter_file, tmp_path):
    source = {**boxes_only, "segmenter": {"file": str(segmenter_file()), "kind": "u2net"}}
    assert _extract(tmp_path / "out", source)["counts"] == {"kept": 2, "not_found": 1}
    index = pq.read_table(tmp_path / "out" / "index.parquet")
    found = dict(zip(index["id"].to_pylist(), index["box_xyxy_px"].to_pylist(), strict=True))
    np.testing.assert_allclose(found["p/left"], (10, 10, 65, 60), atol=2)
    np.testing.assert_allclose(found["p/right"], (90, 40, 150, 110), atol=2)
    with pytest.raises(InputError, match="goes with the kinds coco, voc, animal_pose, folder"):
        _extract(tmp_path / "other", {"kind": "open_images", "segmenter": source["segmenter"]})


def test_inside_the_rectangles_of_pascal_voc(segmenter_file, tmp_path):
    for name in ("Annotations", "JPEGImages"):
        (tmp_path / "voc" / name).mkdir(parents=True)
    _photograph([(30, 20, 110, 90)]).save(tmp_path / "voc" / "JPEGImages" / "p.jpg", quality=95)
    box = "<xmin>27</xmin><ymin>18</ymin><xmax>112</xmax><ymax>92</ymax>"
    (tmp_path / "voc" / "Annotations" / "p.xml").write_text(
        "<annotation><filename>p.jpg</filename><size><width>160</width><height>120</height></size>"
        f"<object><name>cup</name><bndbox>{box}</bndbox></object></annotation>"
    )
    source = {"kind": "voc", "folder": str(tmp_path / "voc"), "maskless": "leave_out"}
    with pytest.raises(InputError, match="no usable photograph"):
        _extract(tmp_path / "none", source)
    source["segmenter"] = {"file": str(segmenter_file())}
    assert _extract(tmp_path / "out", source)["counts"] == {"kept": 1}
    np.testing.assert_allclose(CutoutSet(tmp_path / "out").column("box_xyxy_px")[0], (30, 20, 110, 90), atol=2)


def test_without_a_segmenter_masks_stay_required(boxes_only, tmp_path):
    with pytest.raises(InputError, match=r"annotations\[1\]\.segmentation: got .*expected polygons or run lengths"):
        _extract(tmp_path / "out", boxes_only)
    secret = tmp_path / "secret.png"
    Image.new("L", _SIZE, 255).save(secret)
    raw = json.loads(Path(boxes_only["annotations"]).read_text())
    raw["annotations"][1]["segmentation"] = {"png": f"../{secret.name}"}
    Path(boxes_only["annotations"]).write_text(json.dumps(raw))
    with pytest.raises(InputError, match=r"annotations\[1\]\.segmentation: got .*expected polygons or run lengths"):
        _extract(tmp_path / "out", boxes_only)
    counts = _extract(tmp_path / "skipped", {**boxes_only, "skip_defects": True})["defects"]
    assert counts == {"defective annotation": 2}


def test_an_interrupted_run_goes_on_with_the_same_file_only(pictures, segmenter_file, tmp_path, monkeypatch):
    source = _source(pictures, segmenter_file())
    whole = _extract(tmp_path / "whole", source)
    broken = pictures / "cup" / "pieces.jpg"
    good = broken.read_bytes()
    broken.write_bytes(good[: len(good) // 2])
    with pytest.raises(InputError, match=r"pieces\.jpg"):
        _extract(tmp_path / "out", source)
    broken.write_bytes(good)
    assert [path.name for path in (tmp_path / "out" / "shards").iterdir()] == ["cutouts-00000.parquet"]
    red = Path(source["segmenter"]["file"]).read_bytes()
    segmenter_file(weights=(30.0, -30.0, 0.0))  # another network under the same name
    with pytest.raises(InputError, match="another source, by another segmenter"):
        _extract(tmp_path / "out", source)
    with pytest.raises(InputError, match="another source"):
        _extract(tmp_path / "out", {"kind": "folder", "root": str(pictures)})
    # A worker that only has the plan refuses it, too.
    monkeypatch.setattr(segmenter, "_opened", {})
    with pytest.raises(InputError, match="other checksum"):
        extraction._beam_shard(1, str(tmp_path / "out"))
    Path(source["segmenter"]["file"]).write_bytes(red)
    extraction._beam_shard(1, str(tmp_path / "out"))
    assert _extract(tmp_path / "out", source) == whole
    assert _files(tmp_path / "out") == _files(tmp_path / "whole")


def test_errors_leave_nothing_behind(pictures, segmenter_file, tmp_path):
    good = segmenter_file()
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(good.read_bytes()[:200])
    command = [sys.executable, "-m", "fos_jax.launch.cutouts", "--source=folder", f"--images={pictures}"]
    command += [f"--segmenter={damaged}", f"--output={tmp_path}/out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [done.stderr.strip()]
    assert done.stderr.startswith(f"error: {damaged}: not an ONNX file that onnxruntime can run, or truncated")
    for file in (tmp_path / "none.onnx", segmenter_file("four.onnx", maps=4)):
        with pytest.raises(InputError, match=file.name):
            _extract(tmp_path / "out", _source(pictures, file))
    assert not (tmp_path / "out").exists()


def test_a_picture_that_the_network_fails_on(pictures, segmenter_file, tmp_path):
    # The root of red less a little: not a number where a picture is dark.
    file = segmenter_file(last="Sqrt", weights=(1.0, 0.0, 0.0), bias=-0.2)
    dark = np.full((60, 60, 3), 200, np.uint8)
    dark[:30] = 5
    Image.fromarray(dark).save(pictures / "cup" / "dark.png")
    with pytest.raises(InputError, match=r"red\.onnx: returns numbers that are not finite for .*dark\.png"):
        _extract(tmp_path / "out", _source(pictures, file))
    assert not list((tmp_path / "out").glob("shards/*"))
    manifest = _extract(tmp_path / "skip", _source(pictures, file, skip_defects=True))
    assert manifest["defects"]["unusable mask"] >= 1
