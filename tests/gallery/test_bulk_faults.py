"""Builds by shards that are refused or damaged: one line that says why, and nothing else is touched."""

import os
import sys

import numpy as np
import pytest
from fake_bundle import FakeBundle, FakeExperts
from test_bulk import Counting, assert_same, build, cutouts, expected, plan_of, save  # noqa: F401

from fos_jax.cutouts.extraction import extract
from fos_jax.cutouts.filters import default_config
from fos_jax.errors import InputError
from fos_jax.gallery import bulk, shard_plan
from fos_jax.gallery.foregrounds import Layout
from fos_jax.gallery.shard_files import read_facts, read_shard
from fos_jax.gallery.sources import FolderCutouts

# ruff: noqa: F811


def test_shards_of_another_build_are_refused(cutouts, tmp_path):
    other = save(tmp_path / "other", 3)
    plan = plan_of(cutouts, tmp_path / "shards")
    bulk.encode_shard(plan, 0, FakeExperts())
    before = sorted(plan.folder.rglob("*"))
    for options, reason in (
        ({"bundle": FakeExperts(fingerprint="another")}, "bundle was experts, is another"),
        ({"source": other}, rf"source\.name was folder {cutouts}, is folder {other}"),
        ({"tags": ["new"]}, r"options\.tags was \[\], is \['new'\]"),
        ({"shard_size": 7}, "shard_size was 5, is 7"),
    ):
        with pytest.raises(InputError, match=rf"{plan.folder}: holds shards of another build \({reason}\), expected"):
            build(**{"source": cutouts, "path": tmp_path / "g", "shards": plan.folder, **options})
    assert sorted(path for path in plan.folder.rglob("*") if path.name != "lock") == before
    licensed = FolderCutouts(cutouts, categories=None, licence="CC0")
    with pytest.raises(InputError, match=r"source\.settings\.licence was , is CC0"):
        build(licensed, tmp_path / "g", shards=plan.folder)


def test_other_folders_are_left_alone(cutouts, coco_folder, tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.parquet").write_bytes(b"mine")
    annotations, images = coco_folder()
    described = {"kind": "coco", "annotations": str(annotations), "images": str(images)}
    extract(tmp_path / "cut", described, default_config(), progress=False)  # it has a plan, too
    for folder in (tmp_path / "pictures", tmp_path / "cut"):
        before = sorted(folder.rglob("*"))
        with pytest.raises(InputError, match=rf"{folder}/plan/plan\.json: no plan of shards"):
            build(cutouts, tmp_path / "g", shards=folder)
        assert sorted(folder.rglob("*")) == before
    with pytest.raises(InputError, match=r"a\.parquet: cannot be read as a folder of shards \(Not a directory\)"):
        build(cutouts, tmp_path / "g", shards=tmp_path / "pictures" / "a.parquet")
    with pytest.raises(InputError, match="pictures: holds other files, expected a gallery"):
        build(cutouts, tmp_path / "pictures")
    plan = plan_of(cutouts, tmp_path / "shards")
    text = (plan.folder / "plan" / "plan.json").read_text().replace('"format_version": 1', '"format_version": 9')
    (plan.folder / "plan" / "plan.json").write_text(text)
    with pytest.raises(InputError, match=r"plan\.json: format_version is not 1, delete .*shards"):
        build(cutouts, tmp_path / "g", shards=plan.folder)


def test_two_builds_do_not_share_shards(cutouts, tmp_path):
    with shard_plan.locked(tmp_path / "shards"), pytest.raises(InputError, match="shards: another process is building"):
        build(cutouts, tmp_path / "g", shards=tmp_path / "shards")
    build(cutouts, tmp_path / "g", shards=tmp_path / "shards")


def test_damaged_shards_are_named(cutouts, expected, tmp_path):
    plan = plan_of(cutouts, tmp_path / "shards")
    for shard in range(5):
        bulk.encode_shard(plan, shard, FakeExperts())
    path = plan.path(2)
    good, layout = path.read_bytes(), Layout(FakeExperts().table, **read_facts(path)["layout"])

    def read():
        return read_facts(path), [(b.category, b.ids, b.vectors.tobytes(), b.cutouts) for b in read_shard(path, layout)]

    whole, said = read(), list[str]()
    rng = np.random.default_rng(0)
    flips = [good[:at] + bytes([good[at] ^ 255]) + good[at + 1 :] for at in rng.integers(0, len(good), 300)]
    for damaged in [b"", good[: len(good) // 2], good[:-1], *flips]:
        path.write_bytes(damaged)
        try:
            assert read() == whole  # the byte is one that nothing needs
        except InputError as error:
            said.append(str(error))
    assert len(said) > 250
    assert all(text.startswith(f"{path}: not a shard") and "\n" not in text for text in said)
    for damaged, reason in ((good[:-1], "not a shard of encoded cut-outs, or damaged"), (None, "holds another shard")):
        path.write_bytes(plan.path(1).read_bytes() if damaged is None else damaged)
        with pytest.raises(InputError, match=rf"{path}: {reason}.* delete it$"):
            build(cutouts, tmp_path / "g", shards=plan.folder)
        assert not (tmp_path / "g").exists()
    path.unlink()
    build(cutouts, tmp_path / "g", shards=plan.folder)
    assert_same(tmp_path / "g", expected)


def test_a_full_disk(cutouts, expected, tmp_path, monkeypatch):
    build(cutouts, tmp_path / "g")
    writing = "pyarrow.parquet.ParquetWriter.write_table"

    def refuse(*args, **kwargs):
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patched:
        patched.setattr(writing, refuse)
        with pytest.raises(InputError, match=r"\.g\.shards-.*/00000-.*parquet: cannot be written \(No space left"):
            build(save(tmp_path / "more", 30), tmp_path / "g")
    assert {p.name for p in tmp_path.iterdir()} == {"in", "more", "whole", "g"}
    assert_same(tmp_path / "g", expected)
    with monkeypatch.context() as patched:  # of the assembly: what is encoded stays
        patched.setattr("fos_jax.gallery.segment_writing.np.save", refuse)
        with pytest.raises(InputError, match=r"g: cannot be written \(No space left"):
            build(tmp_path / "more", tmp_path / "g")
    assert_same(tmp_path / "g", expected)
    counting = Counting()
    assert build(tmp_path / "more", tmp_path / "g", counting)["built"]["num_foregrounds"] == 30
    assert counting.batches == 0


class Twice(FolderCutouts):
    """Lists everything twice."""

    def units(self):
        yield from super().units()
        yield from super().units()


def test_ids_come_once(cutouts, tmp_path):
    with pytest.raises(InputError, match=rf"folder {cutouts}, car/00\.png: this id comes twice"):
        build(Twice(cutouts, categories=None), tmp_path / "g")
    assert not (tmp_path / "g").exists()


def test_defects_are_counted_over_shards(cutouts, tmp_path):
    for i in range(4):
        (cutouts / "car" / f"{6 * i:02d}.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"car/00\.png"):
        build(cutouts, tmp_path / "g")
    source = FolderCutouts(cutouts, categories=None, skip_defects=True)
    built = build(source, tmp_path / "g", shard_size=2)["built"]
    assert (built["num_foregrounds"], built["skipped"]) == (19, {"unusable image": 4})
    for path in cutouts.rglob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(InputError, match=r"in: no cut-out could be used \(23 unusable image\)"):
        build(FolderCutouts(cutouts, categories=None, skip_defects=True), tmp_path / "g")
    with pytest.raises(InputError, match="unknown 'lamp'"):
        build(save(tmp_path / "more"), tmp_path / "g", FakeBundle(), mirror=False)


def test_facts_say_what_a_shard_is(cutouts, tmp_path):
    plan = plan_of(cutouts, tmp_path / "shards")
    bulk.encode_shard(plan, 3, FakeExperts())
    facts = read_facts(plan.path(3))
    assert facts["digest"] == plan.digests[3]
    assert facts["layout"]["expert_sizes"] == {"appearance": 3, "geometry": 2}
    with pytest.raises(InputError, match=r"00000-.*parquet: is missing, 4 of 5 shards are"):
        bulk.assemble(plan, FakeExperts(), tmp_path / "g", {}, listed=FolderCutouts(cutouts, categories=None))


def test_a_runner_needs_beam(cutouts, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(InputError, match=r"runner: flink needs Apache Beam.*`pip install 'fos-jax\[beam\]'`"):
        build(cutouts, tmp_path / "g", runner="flink")
    assert {p.name for p in tmp_path.iterdir()} == {"in"}
