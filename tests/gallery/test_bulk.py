"""Builds by shards: the same gallery as in one go, whatever was interrupted, repeated, changed or damaged."""

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from fake_bundle import FakeExperts, disc
from PIL import Image
from test_cutout_sources import _build_data_set
from test_gallery_programs import fos

from fos_jax import beam
from fos_jax.cutouts.extraction import extract
from fos_jax.cutouts.filters import default_config
from fos_jax.encoders.build import abstract_variables
from fos_jax.encoders.bundle import load_bundle, save_bundle
from fos_jax.errors import InputError
from fos_jax.gallery import bulk, shard_plan
from fos_jax.gallery.building import build_gallery
from fos_jax.gallery.foregrounds import SCHEMA
from fos_jax.gallery.gallery import Gallery
from fos_jax.gallery.sources import CocoCutouts, DatasetCutouts, ExtractionCutouts, FolderCutouts

CATEGORIES = ("car", "chair", "lamp")  # the table lacks the last one


def save(folder, n=23):
    """Cut-outs of all shades and sizes, `<category>/NN.png`."""
    for i in range(n):
        path = folder / CATEGORIES[i % 3] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(disc((250 - 8 * i, 3 * i, 8 * i), 20 + i, 40 - i)).save(path)
    return folder


@pytest.fixture
def cutouts(tmp_path):
    return save(tmp_path / "in")


def build(source, path, bundle=None, **options):
    options = {"shard_size": 5, "batch_size": 3, **options}
    source = source if hasattr(source, "units") else FolderCutouts(source, categories=None)
    return bulk.build_by_shards(source, bundle or FakeExperts(), path, bundle_path=path.parent / "b", **options)


def content(path):
    """All that a gallery holds, by id, but for when it was built."""
    gallery = Gallery.open(path, verify=True)
    table, found = gallery.snapshot(), {}
    names = [name for name in SCHEMA.names if name not in ("added_s", "version")]
    for row, identifier in enumerate(gallery.column("id").tolist()):
        values = [gallery.column(name)[row] for name in names]
        found[identifier] = (row, values, gallery.cutout(row).tobytes(), gallery.thumbnail(row).tobytes())
    lists = [gallery.category(name) for name in gallery.manifest["built"]["counts"]]
    vectors = [table.embeddings(), *(of.posteriors[:] for of in lists)]
    segment = next((path / "segments").iterdir())
    vectors += [np.load(file) for file in sorted(segment.rglob("*.npy")) if file.parent != segment]
    manifest = {name: value for name, value in gallery.manifest.items() if name != "bundle"}
    gallery.close()
    return found, vectors, manifest


def assert_same(a, b):
    (found, vectors, manifest), (expected, expected_vectors, expected_manifest) = content(a), content(b)
    assert list(found) == list(expected)
    assert str(found) == str(expected)  # NaN equals itself
    assert manifest == expected_manifest
    for got, want in zip(vectors, expected_vectors, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.fixture
def expected(cutouts, tmp_path):
    """The gallery that was built in one go."""
    source = FolderCutouts(cutouts, categories=None)
    build_gallery(source, FakeExperts(), tmp_path / "whole", bundle_path=tmp_path / "b", batch_size=3)
    return tmp_path / "whole"


@pytest.mark.parametrize("shard_size", [1, 5, 23, 99])
def test_the_same_gallery_by_shards(cutouts, expected, tmp_path, shard_size):
    manifest = build(cutouts, tmp_path / "g", shard_size=shard_size)
    assert manifest["built"]["num_mirrored"] > 0
    assert_same(tmp_path / "g", expected)
    assert {p.name for p in tmp_path.iterdir()} == {"in", "whole", "g"}  # no shards are left


def test_cutouts_that_are_referred_to(cutouts, tmp_path):
    source = FolderCutouts(cutouts, categories=None)
    build_gallery(source, FakeExperts(), tmp_path / "whole", bundle_path=tmp_path / "b", cutouts="reference")
    build(source, tmp_path / "g", cutouts="reference", tags=["new"])
    found, (whole, *_) = content(tmp_path / "g")[0], content(tmp_path / "whole")
    assert {name: (row, *pictures) for name, (row, _, *pictures) in found.items()} == {
        name: (row, *pictures) for name, (row, _, *pictures) in whole.items()
    }
    gallery = Gallery.open(tmp_path / "g")
    assert set(gallery.column("path").tolist()) == {str(path) for path in cutouts.rglob("*.png")}
    assert gallery.column("tags").tolist() == [["new"]] * 23
    gallery.close()


@pytest.fixture(scope="module")
def mini(tmp_path_factory, table, config):
    """A bundle of small untrained networks."""
    path, rng = tmp_path_factory.mktemp("mini") / "bundle", np.random.default_rng(0)
    shapes = abstract_variables(config, table, has_query=True)
    drawn = jax.tree.map(lambda leaf: rng.normal(0, 0.3, leaf.shape).astype(leaf.dtype), shapes)
    parts = {f"{name}_variables": drawn[name] for name in ("foreground", "query")}
    save_bundle(path, config=config, table=table, **parts)
    return path


def test_the_same_vectors_by_a_network(tmp_path, mini):
    for i in range(11):
        path = tmp_path / "in" / CATEGORIES[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(disc((250 - 20 * i, 9 * i, 20 * i), 40 + i, 50)).save(path)
    source, bundle = FolderCutouts(tmp_path / "in", categories=None), load_bundle(mini)
    build_gallery(source, bundle, tmp_path / "whole", bundle_path=mini, batch_size=4)
    build(source, tmp_path / "g", bundle, shard_size=6, batch_size=4)
    assert_same(tmp_path / "g", tmp_path / "whole")


def test_every_kind_of_source(coco_folder, tmp_path):
    annotations, images = coco_folder(photographs=7)
    described = {"kind": "coco", "annotations": str(annotations), "images": str(images)}
    extract(tmp_path / "cut", described, default_config(), photographs_per_shard=2, progress=False)
    (tmp_path / "data").mkdir()
    sources = {
        "coco": CocoCutouts(annotations, images, categories=["car"], skip_defects=True),
        "extraction": ExtractionCutouts(tmp_path / "cut", categories=["ship"], category_names={"boat": "ship"}),
        "data set": DatasetCutouts(_build_data_set(tmp_path / "data"), "test", category_names={"car": "lamp"}),
    }
    for name, source in sources.items():
        build_gallery(source, FakeExperts(), tmp_path / f"whole {name}", bundle_path=tmp_path / "b")
        build(source, tmp_path / name, shard_size=2)
        assert_same(tmp_path / name, tmp_path / f"whole {name}")
        assert json.loads((tmp_path / name / "manifest.json").read_text())["built"]["skipped"] == dict(source.skipped)


class Counting(FakeExperts):
    """Counts batches, and ends with an exception at some of them."""

    def __init__(self, stop_at=(), error=KeyboardInterrupt, **options):
        super().__init__(**options)
        self.batches, self._stop_at, self._error = 0, stop_at, error

    def encode_foregrounds(self, *inputs, **options):
        self.batches += 1
        if self.batches in self._stop_at:
            raise self._error
        return super().encode_foregrounds(*inputs, **options)


def shards(folder):
    return sorted(path.name for path in folder.glob("*.parquet"))


def test_an_interrupted_build_goes_on(cutouts, expected, tmp_path):
    whole = Counting()
    build(cutouts, tmp_path / "g", whole, mirror=False)
    first, second = Counting(stop_at=[5]), Counting()
    with pytest.raises(KeyboardInterrupt):
        build(cutouts, tmp_path / "h", first, mirror=False)
    assert not (tmp_path / "h").exists()
    (folder,) = tmp_path.glob(".h.shards-*")
    assert len(shards(folder)) == 2
    with pytest.raises(KeyboardInterrupt):  # another bundle has shards of its own
        build(cutouts, tmp_path / "h", Counting(stop_at=[2], fingerprint="other"), mirror=False)
    build(cutouts, tmp_path / "h", second, mirror=False)
    assert first.batches - 1 + second.batches == whole.batches
    assert_same(tmp_path / "h", tmp_path / "g")
    assert {p.name for p in tmp_path.iterdir()} == {"in", "whole", "g", "h"}


_CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from fake_bundle import FakeExperts
from test_bulk import build

class Slow(FakeExperts):
    def encode_foregrounds(self, *inputs, **options):
        print("batch", flush=True)
        time.sleep(0.05)
        return super().encode_foregrounds(*inputs, **options)

build(Path({source!r}), Path({path!r}), Slow())
"""


def test_a_killed_build_goes_on(cutouts, expected, tmp_path):
    code = _CHILD.format(tests=str(Path(__file__).parent), source=str(cutouts), path=str(tmp_path / "g"))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        for _ in range(7):
            child.stdout.readline()
        time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
    (folder,) = tmp_path.glob(".g.shards-*")
    kept = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}
    assert 1 <= len(kept) < 5
    (folder / ".00004-0.parquet.partial-dead").write_bytes(b"half")
    with pytest.raises(KeyboardInterrupt):
        build(cutouts, tmp_path / "g", Counting(stop_at=[5]))
    now = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}
    assert now.items() > kept.items()
    assert not list(folder.glob(".*"))
    build(cutouts, tmp_path / "g")
    assert_same(tmp_path / "g", expected)


def plan_of(cutouts, folder, *, options=(("mirror", True), ("tags", []))):
    folder.mkdir(exist_ok=True)
    source = FolderCutouts(cutouts, categories=None)
    encoding = {"cutouts": "copy", "thumbnail_size": 160, "batch_size": 3, **dict(options)}
    identity = shard_plan.identity_of(source, fingerprint="experts", options=encoding, shard_size=5)
    return shard_plan.make_plan(source, identity, folder, bundle_path=folder)


def test_repeated_and_simultaneous_work_leaves_one_file_per_shard(cutouts, expected, tmp_path):
    """As runners do that retry a bundle of elements, or start it a second time beside a slow worker."""
    plan = plan_of(cutouts, tmp_path / "shards")

    def work():
        for shard in (0, 1, 1, 2, 3, 4, 2, 0):
            bulk.encode_shard(plan, shard, FakeExperts())

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shards(plan.folder) == [plan.path(shard).name for shard in range(5)]
    build(cutouts, tmp_path / "g", Counting(stop_at=[1]), shards=plan.folder)  # nothing is left to encode
    assert_same(tmp_path / "g", expected)
    assert not plan.folder.exists()


def test_only_what_changed_is_encoded_again(cutouts, tmp_path):
    before = plan_of(cutouts, tmp_path / "shards")
    for shard in range(5):
        bulk.encode_shard(before, shard, FakeExperts())
    Image.fromarray(disc((1, 2, 3))).save(cutouts / "chair" / "01.png")  # the ninth cut-out
    after = plan_of(cutouts, tmp_path / "shards")
    assert after.missing() == [1]
    assert len(shards(after.folder)) == 4
    (cutouts / "lamp" / "zz.png").write_bytes((cutouts / "lamp" / "02.png").read_bytes())
    assert plan_of(cutouts, tmp_path / "shards").missing() == [1, 4]
    build(cutouts, tmp_path / "g", shards=tmp_path / "shards")
    gallery = Gallery.open(tmp_path / "g")
    assert len(gallery) == 24
    np.testing.assert_array_equal(gallery.cutout(gallery.row_of("chair/01.png")), disc((1, 2, 3)))
    gallery.close()


def test_what_workers_raised_is_found_in_what_runners_raise():
    error = RuntimeError("pipeline failed")
    error.__cause__ = InputError("a.png: no image [while running 'work']")
    assert beam.input_error_in(error) == "a.png: no image"
    text = "Traceback\n  fos_jax.errors.InputError: b.png: no image [while running 'work-ptransform-3']\n\nmore"
    assert beam.input_error_in(RuntimeError(text)) == "b.png: no image"
    assert beam.input_error_in(RuntimeError("out of memory")) is None


def test_the_program(cutouts, expected, tmp_path):
    (tmp_path / "b").mkdir()
    options = [f"--cutouts={cutouts}", f"--output={tmp_path / 'g'}", f"--bundle={tmp_path / 'b'}", "--shard_size=5"]
    told = fos("gallery", "build", *options, f"--shards={tmp_path / 'shards'}")
    assert told[0] == f"{tmp_path / 'g'}: 23 foregrounds (8 car, 8 chair, 7 lamp)"
    assert_same(tmp_path / "g", expected)
    assert {p.name for p in tmp_path.iterdir()} == {"in", "whole", "b", "g"}
