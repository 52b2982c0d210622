"""Rendered photographs with instance masks."""

import json
import subprocess
import sys

import numpy as np
import pytest

from fos_jax.scenes.streams import CHUNK, photograph_stream, query_stream

COUNTS = {"car": 4}


@pytest.fixture(scope="module")
def rows():
    photographs = list(photograph_stream(5, "train", COUNTS, size=48, samples=1))
    queries = list(query_stream(5, "train", COUNTS, size=48, samples=1))
    return list(zip(photographs, queries, strict=True))


def test_photograph_and_query_differ_where_the_object_is_and_in_its_shadow_only(rows):
    assert CHUNK >= len(rows) == 4
    for photograph, query in rows:
        differs = (photograph["image"] != query["image"]).any(-1)
        mask = photograph["mask"]
        assert mask.sum() > 20
        assert differs[mask].mean() > 0.9
        brighter = photograph["image"].astype(int).sum(-1) > query["image"].astype(int).sum(-1) + 30
        assert (brighter & ~mask).mean() < 0.01  # a shadow only darkens


def test_the_mask_lies_in_the_querys_rectangle(rows):
    for photograph, query in rows:
        ys, xs = np.nonzero(photograph["mask"])
        y0, x0, y1, x1 = 48 * query["box_yxyx_norm"]
        assert ys.min() >= y0 - 1
        assert xs.min() >= x0 - 1
        assert ys.max() + 1 <= y1 + 1
        assert xs.max() + 1 <= x1 + 1


def test_unknown_category_is_one_line(tmp_path):
    command = [sys.executable, "-m", "fos_jax.launch.scenes_photographs", "--categories=cat"]
    done = subprocess.run([*command, f"--output={tmp_path / 'p'}"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: categories: unknown 'cat', expected some of car")
    assert not list(tmp_path.iterdir())


def test_the_program_writes_what_extraction_reads(tmp_path):
    from fos_jax.cutouts.cutout_set import CutoutSet
    from fos_jax.cutouts.extraction import extract
    from fos_jax.cutouts.filters import config_with
    from fos_jax.experiments.simulated_session import true_attributes

    folder = tmp_path / "photographs"
    command = [sys.executable, "-m", "fos_jax.launch.scenes_photographs", "--categories=car", "--per_category=3"]
    subprocess.run([*command, f"--output={folder}", "--image_px=64"], check=True, capture_output=True)
    raw = json.loads((folder / "instances.json").read_text())
    assert len(raw["images"]) == len(raw["annotations"]) == 3
    small = {"size.min_area_px": 1, "size.min_short_side_px": 1, "size.min_long_side_px": 1}
    small |= {"blurred.min_sharpness": 0.0, "exposure.min_contrast": 0.0}
    source = {"kind": "coco", "annotations": str(folder / "instances.json"), "images": str(folder / "images")}
    extract(tmp_path / "cutouts", source, config_with(small), progress=False)
    cutouts = CutoutSet(tmp_path / "cutouts")
    assert len(cutouts) == 3
    assert {frozenset(values) for values in true_attributes(cutouts, ["yaw", "light"])} == {frozenset({"yaw", "light"})}
