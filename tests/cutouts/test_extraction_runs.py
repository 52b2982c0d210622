import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fos_jax.cutouts import extraction
from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.cutouts.extraction import extract, finish, make_plan, read_plan, run_shard
from fos_jax.cutouts.filters import config_with, default_config
from fos_jax.cutouts.shards import read_summary
from fos_jax.errors import InputError
from fos_jax.patterns.proposals import read_proposals


def _source(paths, **more):
    return {"kind": "coco", "annotations": str(paths[0]), "images": str(paths[1]), **more}


def _extract(folder, source, config=None, **options):
    return extract(folder, source, config or default_config(), photographs_per_shard=2, progress=False, **options)


def _files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def test_from_annotations_to_a_cutout_set(coco_folder, tmp_path):
    source = _source(coco_folder(photographs=5, objects=2))
    manifest = _extract(tmp_path / "out", source)
    assert manifest["counts"] == {"kept": 10}
    assert manifest["photographs"] == 5
    assert [shard["rows"] for shard in manifest["shards"]] == [4, 4, 2]
    cutouts = CutoutSet(tmp_path / "out")
    assert len(cutouts) == 10
    assert cutouts.column("id")[:3] == ["p0000/0", "p0000/1", "p0001/2"]
    assert set(cutouts.column("licence")) == {"CC BY"}
    assert cutouts.attributes()[0] == {"azimuth_deg": 45.0}
    pictures = dict(cutouts.pictures())
    assert sorted(pictures) == list(range(10))
    x0, y0, x1, y1 = cutouts.column("box_xyxy_px")[7]
    photograph = np.asarray(Image.open(Path(source["images"]) / cutouts.column("source_path")[7]))
    np.testing.assert_array_equal(pictures[7][..., :3], photograph[y0:y1, x0:x1])
    assert [index for index, _ in cutouts.pictures([8, 1])] == [1, 8]
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "kept: 10" in page
    assert page.count("data:image/jpeg;base64,") == 10


def test_every_filter_is_counted_with_an_example(coco_folder, tmp_path):
    def change(raw):
        crowd, small, split, wrong = raw["annotations"][:4]
        crowd["iscrowd"] = 1
        small.update(bbox=[5, 5, 8, 8], segmentation=[[5, 5, 13, 5, 13, 13, 5, 13]])
        split["segmentation"] = [[5, 5, 30, 5, 30, 50, 5, 50], [40, 5, 70, 5, 70, 50, 40, 50]]
        split["bbox"] = [5, 5, 65, 45]
        wrong["bbox"] = [60, 50, 30, 25]

    manifest = _extract(tmp_path / "out", _source(coco_folder(photographs=4, objects=2, change=change)))
    assert manifest["counts"] == {"kept": 4, "crowd": 1, "size": 1, "fragmented": 1, "box_mismatch": 1}
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert page.count("data:image/jpeg;base64,") == 8
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["counts"] == manifest["counts"]
    assert len(report["measures"]["area_px"]) == 7


def test_near_duplicates_across_shards(coco_folder, tmp_path):
    paths = coco_folder(photographs=4, objects=1)
    for name in ("p0002.png", "p0003.png"):  # the same photograph again, and a copy that was compressed
        Image.open(paths[1] / "p0000.png").convert("RGB").save(
            paths[1] / name, "JPEG" if "3" in name else "PNG", quality=95
        )
    raw = json.loads(paths[0].read_text())
    for index in (2, 3):
        raw["annotations"][index] |= {
            key: raw["annotations"][0][key] for key in ("bbox", "segmentation", "category_id")
        }
    paths[0].write_text(json.dumps(raw))
    manifest = _extract(tmp_path / "out", _source(paths))
    assert manifest["counts"] == {"kept": 2, "near_duplicate": 2}
    index = pq.read_table(tmp_path / "out" / "index.parquet")
    assert index["duplicate_of"].to_pylist() == ["", "", "p0000/0", "p0000/0"]
    hashes = index["source_hash"].to_pylist()
    assert hashes[0] == hashes[2]
    assert (hashes[0] ^ hashes[1]).bit_count() > 8
    other = _extract(tmp_path / "off", _source(paths), config_with({"near_duplicate.max_distance_bits": -1}))
    assert other["counts"] == {"kept": 4}


def test_two_runs_are_the_same_bytes(coco_folder, tmp_path):
    source = _source(coco_folder())
    _extract(tmp_path / "a", source)
    _extract(tmp_path / "b", source)
    assert _files(tmp_path / "a") == _files(tmp_path / "b")


def test_a_finished_run_does_nothing_and_another_is_refused(coco_folder, tmp_path, monkeypatch):
    paths = coco_folder()
    _extract(tmp_path / "out", _source(paths))
    before = _files(tmp_path / "out")
    monkeypatch.setattr(extraction, "write_shard", None)  # would fail if a shard were written
    _extract(tmp_path / "out", _source(paths))
    assert _files(tmp_path / "out") == before
    with pytest.raises(InputError, match="other thresholds"):
        _extract(tmp_path / "out", _source(paths), config_with({"size.min_area_px": 1}))
    with pytest.raises(InputError, match="another source"):
        _extract(tmp_path / "out", _source(paths, licence="CC0"))


def test_an_error_in_a_shard_leaves_no_half_of_it(coco_folder, tmp_path):
    paths = coco_folder(photographs=4)
    good = (paths[1] / "p0003.png").read_bytes()
    (paths[1] / "p0003.png").write_bytes(good[: len(good) // 2])
    with pytest.raises(InputError, match=r"p0003\.png"):
        _extract(tmp_path / "out", _source(paths))
    assert [p.name for p in (tmp_path / "out" / "shards").iterdir()] == ["cutouts-00000.parquet"]
    assert not (tmp_path / "out" / "manifest.json").exists()
    with pytest.raises(InputError, match="cannot be read"):
        CutoutSet(tmp_path / "out")
    with pytest.raises(InputError, match=r"cutouts-00001.parquet: is missing, 1 of 2"):
        finish(read_plan(tmp_path / "out"))
    (paths[1] / "p0003.png").write_bytes(good)
    assert _extract(tmp_path / "out", _source(paths))["counts"] == {"kept": 8}
    (paths[1] / "p0003.png").write_bytes(good[: len(good) // 2])
    skipping = _extract(tmp_path / "skip", _source(paths, skip_defects=True))
    assert skipping["counts"] == {"kept": 6}
    assert skipping["defects"] == {"unusable photograph": 1}
    assert "p0003.png" in skipping["messages"][0]


def test_a_full_disk_leaves_no_half_shard(coco_folder, tmp_path, monkeypatch):
    plan = make_plan(tmp_path / "out", _source(coco_folder()), default_config())

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space"):
        run_shard(plan, 0)
    assert list((tmp_path / "out" / "shards").iterdir()) == []


_KILLED = """
import sys
from fos_jax.patterns.proposals import read_proposals
from fos_jax.cutouts.extraction import extract
from fos_jax.cutouts.filters import default_config
source = {"kind": "coco", "annotations": sys.argv[2], "images": sys.argv[3]}
print("started", flush=True)
extract(sys.argv[1], source, default_config(), photographs_per_shard=2, progress=False)
"""


def test_killed_at_any_moment_and_started_again(coco_folder, tmp_path):
    paths = coco_folder(photographs=24, objects=3)
    _extract(tmp_path / "whole", _source(paths))
    out = tmp_path / "out"
    moments = 0
    for delay in (0.02, 0.08, 0.2):
        process = subprocess.Popen(
            [sys.executable, "-c", _KILLED, out, *paths],
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        moments += process.returncode == -signal.SIGKILL
        for path in (out / "shards").glob("cutouts-*.parquet"):
            assert read_summary(path)["plan"]  # what is there is whole
    assert moments >= 1
    _extract(out, _source(paths))
    leftovers = [name for name in _files(out) if ".partial-" in name]
    assert {k: v for k, v in _files(out).items() if k not in leftovers} == _files(tmp_path / "whole")


def test_the_program_ends_with_2_and_one_line(tmp_path):
    command = [sys.executable, "-m", "fos_jax.launch.cutouts", "--images=none", "--annotations=none.json"]
    done = subprocess.run([*command, f"--output={tmp_path}/o"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: images: none: no such folder"


def test_the_program_that_proposes(coco_folder, tmp_path):
    paths = coco_folder(photographs=6, objects=2)
    _extract(tmp_path / "cutouts", _source(paths))
    command = [sys.executable, "-m", "fos_jax.launch.propose", f"--cutouts={tmp_path}/cutouts"]
    command += [f"--output={tmp_path}/proposed", "--blocks=shape,truncation"]
    done = subprocess.run([*command, "--truth=azimuth_deg"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    written = {path.name for path in (tmp_path / "proposed").iterdir()}
    assert written == {"proposals.parquet", "groups.png", "agreement.json", "worst_groups.png"}
    proposals = read_proposals(tmp_path / "proposed" / "proposals.parquet")
    cutouts = CutoutSet(tmp_path / "cutouts")
    assert proposals.cutouts == cutouts.fingerprint
    assert list(proposals.cutout_ids) == cutouts.column("id")
    failed = subprocess.run([*command, "--truth=viewpoint"], capture_output=True, text=True, check=False)
    assert failed.returncode == 2
    assert failed.stderr.splitlines()[-1].startswith("error: truth: 'viewpoint' is not annotated for 12 cut-outs")
