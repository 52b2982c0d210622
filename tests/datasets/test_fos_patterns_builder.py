"""Photographs with masks become a data set that everything else reads like the rendered one."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from fos_jax.boxes import box_yxyx_norm_to_xyxy_px
from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.cutouts.extraction import extract
from fos_jax.cutouts.filters import config_with
from fos_jax.data.splits import load_split
from fos_jax.datasets.building import build, validate
from fos_jax.datasets.fos_patterns import layout
from fos_jax.datasets.fos_patterns.benchmark import SIZES, Settings, check_splits, grown_box, plan_benchmark
from fos_jax.errors import InputError
from fos_jax.experiments.simulated_session import review, true_attributes, verify_all
from fos_jax.images import MEAN_COLOUR
from fos_jax.patterns.proposals import Proposals
from fos_jax.verification.export import read_export, write_export
from fos_jax.verification.store import Store

PHOTOGRAPHS = 40


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Noise photographs with two boxes each, tall or wide, extracted, sorted by annotators and exported.

    Photograph 1 is a slightly brighter copy of photograph 0 with other objects: only the photographs look alike.
    """
    root = tmp_path_factory.mktemp("work")
    images = root / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    raw = {
        "licenses": [{"id": 1, "name": "CC BY"}, {"id": 2, "name": "CC0"}],
        "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "boat"}],
        "images": [],
        "annotations": [],
    }
    pixels = np.zeros(())
    for number in range(PHOTOGRAPHS):
        if number == 1:
            pixels = np.clip(pixels.astype(int) + 3, 0, 255).astype(np.uint8)
        else:
            coarse = rng.integers(0, 256, (6, 8, 3), np.uint8)
            pixels = np.asarray(Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC)).copy()
            pixels[::7] = rng.integers(0, 256, 3)
        Image.fromarray(pixels).save(images / f"{number:03d}.png")
        raw["images"].append(
            {"id": number, "file_name": f"{number:03d}.png", "width": 160, "height": 120, "license": 1 + number % 2}
        )
        for k in range(2):
            w, h = [(20, 56), (60, 24)][(number // 2 + k + (number == 1)) % 2]
            x, y = 8 + 75 * k + number % 5, 10 + (3 * number) % 40
            raw["annotations"].append(
                {
                    "id": 2 * number + k,
                    "image_id": number,
                    "category_id": 1 + k,
                    "bbox": [x, y, w, h],
                    "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
                    "iscrowd": 0,
                }
            )
    (root / "instances.json").write_text(json.dumps(raw))
    source = {"kind": "coco", "annotations": str(root / "instances.json"), "images": str(images)}
    everything = {"blurred.min_sharpness": 0.0, "exposure.min_contrast": 0.0, "size.min_short_side_px": 8}
    extract(root / "cutouts", source, config_with(everything), progress=False)
    cutouts = CutoutSet(root / "cutouts")
    categories = cutouts.column("category")
    group = np.array([2 * (c == "car") + i % 2 for i, c in enumerate(categories)])  # half of it is wrong
    proposals = Proposals(
        tuple(cutouts.column("id")), tuple(categories), group, np.ones(len(group), np.float32), cutouts.fingerprint, {}
    )
    store = Store(root / "verified.sqlite", proposals)
    verify_all(store, true_attributes(cutouts, ["aspect"]), "a")
    review(store, "b", share=0.5, mistakes=0.1)
    with store.reading() as state:
        boats = [g for g in sorted(state.standing()) if state.groups[g].category == "boat" and state.members[g]]
        patterns = [g for g in boats if state.groups[g].kind == "pattern"]
        revisions = dict(state.revisions)
    store.act("a", "compatible", {"groups": patterns[:2]}, revisions)
    write_export(root / "verified.json", store)
    store.close()
    return root


@pytest.fixture(scope="module")
def data_dir(work, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for size in SIZES:
        build("fos_patterns", size, str(folder), manual_dir=str(work))
    return folder


@pytest.fixture(scope="module")
def plan(work):
    return layout.plan(work, Settings())


def test_splits_read_like_those_of_the_rendered_benchmark(data_dir, plan):
    seen = 0
    for split in ("train", "validation", "test"):
        foregrounds, queries, table = load_split(
            data_dir,
            dataset="fos_patterns",
            size="tight",
            split=split,
            foreground_size=32,
            query_size=48,
            progress=False,
        )
        assert table.categories == ("boat", "car")
        assert {(p.category, p.attributes["aspect"]) for p in table.patterns} == {
            (c, a) for c in ("boat", "car") for a in ("tall", "wide")
        }
        assert (foregrounds.pattern >= 0).all()
        assert (queries.foreground_index >= 0).all()
        own = foregrounds.pattern[queries.foreground_index]
        assert queries.is_compatible[np.arange(len(own)), own].all()
        seen += len(foregrounds.ids)
        for pattern in table.patterns:
            assert pattern.counts[split] == int((foregrounds.pattern == pattern.id).sum())
    assert seen == len(plan.entries)


def test_also_compatible_marks_extend_the_truth_both_ways(data_dir):
    _, queries, table = load_split(
        data_dir, dataset="fos_patterns", size="tight", split="train", foreground_size=32, query_size=48, progress=False
    )
    is_boat = queries.category == table.category_id("boat")
    assert (queries.is_compatible[is_boat].sum(1) == 2).all()
    assert (queries.is_compatible[~is_boat].sum(1) == 1).all()


@pytest.mark.parametrize("size", sorted(SIZES))
def test_nothing_of_the_object_is_left(data_dir, size):
    import tensorflow_datasets as tfds

    root = data_dir / "fos_patterns" / f"{size}_queries" / "1.0.0"
    source = tfds.builder_from_directory(str(root)).as_data_source(split="train")
    assert len(source) > 20
    for record in source:
        height, width = record["image"].shape[:2]
        x0, y0, x1, y1 = box_yxyx_norm_to_xyxy_px(np.asarray(record["box"]), width, height)
        assert (record["image"][y0:y1, x0:x1] == np.array(MEAN_COLOUR)).all()


def test_jittered_rectangles_hold_the_tight_ones_and_differ(plan):
    loose = Settings(growth=(0.0, 0.2))
    boxes = [(entry.box_xyxy_px, grown_box(entry, 160, 120, loose)) for entry in plan.entries]
    for (x0, y0, x1, y1), (u0, v0, u1, v1) in boxes:
        assert max(u0 - x0, v0 - y0, x1 - u1, y1 - v1) <= 0
        assert max(x0 - u0, u1 - x1) <= 0.2 * (x1 - x0) + 1
    assert len({(x0 - u0, y0 - v0) for (x0, y0, _, _), (u0, v0, _, _) in boxes}) > 5
    assert all(grown_box(e, 160, 120, Settings()) == e.box_xyxy_px for e in plan.entries)


def test_near_duplicate_photographs_share_a_split(plan):
    split_of = {}
    for entry in plan.entries:
        assert split_of.setdefault(entry.source_id, entry.split) == entry.split
    assert {"0", "1"} <= set(split_of)
    assert split_of["0"] == split_of["1"]
    assert plan.components == {"photographs": len(split_of), "linked": 2, "largest": 2}


def test_the_check_sees_what_planning_would_have_missed(plan, work):
    cutouts = CutoutSet(work / "cutouts")
    check_splits(plan, cutouts)
    moved = dataclasses.replace(plan.entries[0], split="test" if plan.entries[0].split != "test" else "train")
    partner = [e for e in plan.entries if e.source_id == moved.source_id and e.id != moved.id]
    broken = dataclasses.replace(plan, entries=(moved, *plan.entries[1:]))
    assert partner, "each photograph has two objects"
    with pytest.raises(InputError, match="share the photograph"):
        check_splits(broken, cutouts)


def test_unverified_and_disputed_members_are_left_out(plan, work):
    verified = read_export(work / "verified.json")
    expected = {m.cutout_id for p in verified.patterns for m in p.members if m.is_verified}
    assert {e.id for e in plan.entries} == expected
    disputed = sum(not m.is_verified for p in verified.patterns for m in p.members)
    assert plan.left_out["not verified"] == disputed > 0


def test_the_card_tells_what_is_in_the_data(data_dir, plan):
    folder = data_dir / "fos_patterns" / "tight_queries" / "1.0.0"
    card = json.loads((folder / "data_card.json").read_text())
    counted = sum(sum(row["foregrounds"].values()) for row in card["categories"].values())
    assert counted == len(plan.entries) == sum(card["licences"].values())
    assert set(card["licences"]) == {"CC BY", "CC0"}
    assert card["annotators"] == ["a", "b"]
    assert 0 < card["agreement"][0]["same"] < 1
    text = (folder / "DATA_CARD.md").read_text()
    assert "Shadows" in text
    assert f"{card['agreement'][0]['kappa']:.3f}" in text
    jittered = json.loads((data_dir / "fos_patterns" / "jittered_queries" / "1.0.0" / "data_card.json").read_text())
    assert jittered["settings"]["growth"] == [0.0, 0.2]


def test_the_same_inputs_give_the_same_bytes(work, data_dir, tmp_path):
    build("fos_patterns", "jittered", str(tmp_path), manual_dir=str(work))
    for kind in ("foregrounds", "queries"):
        first, second = (d / "fos_patterns" / f"jittered_{kind}" / "1.0.0" for d in (data_dir, tmp_path))
        records = sorted(p.name for p in first.glob("*.array_record-*"))
        assert len(records) == 3
        for name in [*records, "patterns.json", "DATA_CARD.md"]:
            assert (first / name).read_bytes() == (second / name).read_bytes()


def test_what_a_killed_build_left_goes_and_a_running_one_stays(work, tmp_path):
    killed, running = (tmp_path / "fos_patterns" / "tight_queries" / f"incomplete.{n}_1.0.0" for n in ("OLD", "NEW"))
    for folder in (killed, running):
        folder.mkdir(parents=True)
        (folder / "half.array_record").write_bytes(b"half")
    for path in (killed, killed / "half.array_record"):
        os.utime(path, (1_000_000, 1_000_000))
    os.utime(running / "half.array_record", (time.time() + 60,) * 2)
    build("fos_patterns", "tight", str(tmp_path), manual_dir=str(work))
    assert sorted(p.name for p in killed.parent.iterdir()) == ["1.0.0", running.name]


def test_missing_photographs_are_all_listed_before_anything_is_written(work, tmp_path):
    manual = tmp_path / "manual"
    manual.mkdir()
    (manual / "cutouts").symlink_to(work / "cutouts")
    shutil.copy(work / "verified.json", manual)
    shutil.copytree(work / "images", manual / "images")
    (manual / "images" / "004.png").unlink()
    (manual / "images" / "006.png").write_bytes(b"no picture")
    problems = [str(p) for p in validate("fos_patterns", "tight", str(manual))]
    assert {p.split(":")[0] for p in problems} == {"004.png", "006.png"}
    with pytest.raises(InputError, match=r"00[46]\.png"):
        build("fos_patterns", "tight", str(tmp_path / "data"), manual_dir=str(manual))
    assert not list((tmp_path / "data").rglob("dataset_info.json"))[
        1:
    ]  # at most the foregrounds, which need no photograph


def test_a_photograph_outside_its_folder_is_refused(work, tmp_path, plan):
    manual = tmp_path / "manual"
    manual.mkdir()
    (manual / "cutouts").symlink_to(work / "cutouts")
    shutil.copy(work / "verified.json", manual)
    shutil.copytree(work / "images", manual / "images")
    name = next(e.photograph for e in plan.entries)
    (manual / "images" / name).unlink()
    (manual / "images" / name).symlink_to(work / "images" / name)
    assert any(name in str(p) for p in validate("fos_patterns", "tight", str(manual)))


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda m: (m / "verified.json").unlink(), "verified.json"),
        (lambda m: (m / "verified.json").write_text("{}"), "not an export"),
        (lambda m: shutil.rmtree(m / "cutouts"), "finished extraction"),
    ],
)
def test_a_broken_manual_directory_is_one_line(work, tmp_path, break_it, message):
    manual = tmp_path / "manual"
    shutil.copytree(work, manual)
    break_it(manual)
    command = [sys.executable, "-m", "fos_jax.launch.dataset_build", "--dataset=fos_patterns", "--size=tight"]
    done = subprocess.run(
        [*command, f"--manual_dir={manual}", f"--data_dir={tmp_path / 'data'}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].startswith("error: ")


def test_an_export_of_other_cutouts_is_refused(work):
    verified = dataclasses.replace(read_export(work / "verified.json"), cutouts="another")
    with pytest.raises(InputError, match="the export is of another"):
        plan_benchmark(CutoutSet(work / "cutouts"), verified, Settings())


def test_patterns_that_are_too_small_are_left_out(work):
    verified, cutouts = read_export(work / "verified.json"), CutoutSet(work / "cutouts")
    with pytest.raises(InputError, match="no verified pattern has 1000 members"):
        plan_benchmark(cutouts, verified, Settings(min_members=1000))
