"""Building, publishing, interrupting and opening a gallery."""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from fake_bundle import FakeBundle, disc, make_table
from PIL import Image

from fos_jax.errors import InputError
from fos_jax.gallery.building import build_gallery
from fos_jax.gallery.gallery import Gallery
from fos_jax.gallery.indexing import Indexing
from fos_jax.gallery.info import gallery_info
from fos_jax.gallery.sources import CutoutRecord, FolderCutouts


class Records:
    """A source of given records."""

    name = "given records"

    def __init__(self, records):
        self.records, self.skipped = list(records), Counter()

    def __len__(self):
        return len(self.records)

    def __iter__(self):
        return iter(self.records)


def _records(n=7, categories=("chair", "car")):
    """Alternating categories, colours from red to blue, margins around the object."""
    for i in range(n):
        rgba = np.zeros((40, 50, 4), np.uint8)
        rgba[5:25, 10:40] = disc((255 - 30 * i, 0, 30 * i), 30, 20)
        yield CutoutRecord(f"fg{i}", categories[i % 2], rgba, f"src{i}", "CC0" if i % 3 else "CC BY", pattern=i % 2)


def _build(path, source=None, bundle=None, **options):
    source = Records(_records()) if source is None else source
    return build_gallery(source, bundle or FakeBundle(), path, bundle_path=path / "b", **options)


def segment(gallery):
    """The folder of its only segment."""
    (folder,) = (gallery / "segments").iterdir()
    return folder


def test_what_lies_in_a_gallery(tmp_path):
    manifest = _build(tmp_path / "g", batch_size=3)
    assert manifest["built"]["counts"] == {"chair": 4, "car": 3}
    assert manifest["built"]["num_foregrounds"] == 7
    assert sorted(p.name for p in tmp_path.iterdir()) == ["g"]
    assert {p.name for p in (tmp_path / "g").iterdir()} == {"manifest.json", "patterns.json", "segments", "gallery.db"}
    assert json.loads((tmp_path / "g" / "manifest.json").read_text()) == manifest
    gallery = Gallery.open(tmp_path / "g", verify=True)
    column = gallery.column
    assert column("id").tolist() == ["fg1", "fg3", "fg5", "fg0", "fg2", "fg4", "fg6"]  # by category, then as they came
    assert column("category").tolist() == ["car"] * 3 + ["chair"] * 4
    assert (column("width_px") == 30).all()
    assert (column("height_px") == 20).all()
    assert column("licence")[3] == "CC BY"
    assert column("true_pattern").tolist() == [1, 1, 1, 0, 0, 0, 0]
    gallery.close()


def test_vectors_posteriors_and_assignments(tmp_path):
    _build(tmp_path / "g")
    gallery = Gallery.open(tmp_path / "g")
    np.testing.assert_allclose(np.linalg.norm(gallery.snapshot().embeddings(), axis=1), 1, rtol=1e-5)
    # fg0 to fg3 are redder, fg5 and fg6 bluer
    assert gallery.column("pattern").tolist() == [0, 0, 1, 2, 2, 2, 3]
    chairs = gallery.category("chair")
    assert chairs.rows[:].tolist() == [3, 4, 5, 6]
    assert chairs.patterns.tolist() == [2, 3]
    np.testing.assert_allclose(chairs.posteriors[:].sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(chairs.posteriors[:].max(axis=1), gallery.column("confidence")[3:], rtol=1e-5)
    np.testing.assert_array_equal(chairs.search(chairs.embeddings[2], "cosine", 1)[1], [2])
    gallery.close()


def test_cutouts_and_thumbnails_come_back(tmp_path):
    _build(tmp_path / "g", thumbnail_size=15)
    gallery = Gallery.open(tmp_path / "g")
    row = gallery.row_of("fg2")
    np.testing.assert_array_equal(gallery.cutout(row), disc((195, 0, 60), 30, 20))
    assert gallery.thumbnail(row).size == (15, 10)
    assert gallery.thumbnail(row).mode == "RGBA"
    with pytest.raises(InputError, match="no foreground 'fg99'"):
        gallery.row_of("fg99")
    gallery.close()


def test_cutouts_can_be_referred_to(tmp_path):
    (tmp_path / "in" / "car").mkdir(parents=True)
    Image.fromarray(disc((9, 9, 9))).save(tmp_path / "in" / "car" / "a.png")
    source = FolderCutouts(tmp_path / "in", categories=("car", "chair"))
    _build(tmp_path / "g", source, cutouts="reference")
    gallery = Gallery.open(tmp_path / "g")
    assert (segment(tmp_path / "g") / "cutouts.bin").stat().st_size == 0
    np.testing.assert_array_equal(gallery.cutout(0), disc((9, 9, 9)))
    (tmp_path / "in" / "car" / "a.png").unlink()
    with pytest.raises(InputError, match=r"a\.png: cannot be read"):
        gallery.cutout(0)
    gallery.close()
    with pytest.raises(InputError, match="is no file to refer to"):
        _build(tmp_path / "g", cutouts="reference")


def test_a_category_may_be_empty(tmp_path):
    _build(tmp_path / "g", Records(_records(3, ("car", "car"))))
    gallery = Gallery.open(tmp_path / "g")
    assert len(gallery.category("chair")) == 0
    scores, places = gallery.category("chair").search(np.ones(2, np.float32), "posterior", 3)
    assert len(scores) == len(places) == 0
    with pytest.raises(InputError, match="unknown 'boat'"):
        gallery.category("boat")
    gallery.close()


@pytest.mark.skipif(sys.platform != "linux", reason="ScaNN is published for Linux only")
def test_large_categories_get_scann_and_the_folder_can_move(tmp_path):
    rng = np.random.default_rng(0)
    records = []
    for i in range(420):
        colour = rng.integers(0, 256, 3)
        records.append(CutoutRecord(f"fg{i}", "car" if i < 300 else "chair", disc(colour, 6, 6)))
    _build(tmp_path / "g", Records(records), indexing=Indexing(300))
    shutil.move(tmp_path / "g", tmp_path / "moved")
    gallery = Gallery.open(tmp_path / "moved", verify=True)
    for ranking in ("cosine", "posterior"):
        cars = gallery.category("car")
        assert type(cars.parts[0].indexes[ranking]).__name__ == "ScannIndex"
        assert type(gallery.category("chair").parts[0].indexes[ranking]).__name__ == "ExactIndex"
        for query in cars.vectors(ranking)[:5]:
            exact, _ = cars.search(query, ranking, 1, is_exact=True)
            np.testing.assert_allclose(cars.search(query, ranking, 1)[0], exact, atol=0.05)
    gallery.close()
    recall = gallery_info(tmp_path / "moved")["indexes"]
    assert recall.keys() == {"car"}
    assert min(recall["car"].values()) > 0.9


# What is refused


def test_unusable_sources(tmp_path):
    with pytest.raises(InputError, match="no cut-out could be used"):
        _build(tmp_path / "g", Records([]))
    record = next(_records())
    with pytest.raises(InputError, match="fg0: this id comes twice"):
        _build(tmp_path / "g", Records([record, record]))
    with pytest.raises(InputError, match="unknown 'boat'"):
        _build(tmp_path / "g", Records([CutoutRecord("a", "boat", disc((1, 2, 3)))]))
    with pytest.raises(InputError, match="given records, a: the cut-out is wholly transparent"):
        _build(tmp_path / "g", Records([CutoutRecord("a", "car", np.zeros((4, 4, 4), np.uint8))]))
    assert list(tmp_path.iterdir()) == []


def test_embeddings_that_are_not_finite_are_refused(tmp_path):
    class Broken(FakeBundle):
        def _encode(self, colour, category):
            embedding, log_posterior = super()._encode(colour, category)
            embedding[1] = np.nan
            return embedding, log_posterior

    with pytest.raises(InputError, match="bundle fake: the embedding of fg1 is not finite"):
        _build(tmp_path / "g", bundle=Broken())
    assert list(tmp_path.iterdir()) == []


def test_folders_of_other_things_are_never_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"precious")
    (tmp_path / "photos" / "manifest.json").write_text('{"format": "something else"}')
    with pytest.raises(InputError, match="holds other files"):
        _build(tmp_path / "photos")
    assert (tmp_path / "photos" / "holiday.jpg").read_bytes() == b"precious"
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="is a file"):
        _build(tmp_path / "file")


def test_a_gallery_of_another_bundle_is_refused_by_name(tmp_path):
    _build(tmp_path / "g", bundle=FakeBundle("one"))
    gallery = Gallery.open(tmp_path / "g")
    gallery.check_bundle("one")
    with pytest.raises(InputError, match=r"was built with bundle one .*, got bundle two"):
        gallery.check_bundle("two")
    gallery.close()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda g: (g / "manifest.json").unlink(), "no gallery there"),
        (lambda g: (g / "manifest.json").write_text("{"), "not a gallery's manifest"),
        (lambda g: (g / "manifest.json").write_text("[]"), "not a gallery's manifest"),
        (lambda g: (g / "manifest.json").write_text('{"format": "x"}'), "format is 'x'"),
        (lambda g: _edit(g, "format_version", 99), "format_version is 99, expected 3"),
        (lambda g: _edit(g, "bundle", {}), "not a gallery's manifest"),
        (lambda g: (segment(g) / "0" / "embeddings.npy").unlink(), r"embeddings\.npy: missing"),
        (lambda g: os.truncate(segment(g) / "cutouts.bin", 10), r"cutouts\.bin: 10 bytes, expected"),
        (lambda g: os.truncate(segment(g) / "metadata.arrow", 10), r"metadata\.arrow: 10 bytes, expected"),
        (lambda g: (segment(g) / "segment.json").unlink(), r"segment\.json: missing"),
        (lambda g: (segment(g) / "segment.json").write_text("{"), r"segment\.json: not a segment's description"),
        (lambda g: (segment(g) / "segment.json").write_text('{"files": {}, "counts": {}}'), "its checksum differs"),
        (lambda g: shutil.rmtree(segment(g)), r"000001: missing, though .*gallery\.db lists it"),
        (lambda g: (g / "patterns.json").write_text("{}"), r"patterns\.json: not a pattern"),
        (lambda g: (g / "gallery.db").unlink(), r"gallery\.db: missing"),
        (lambda g: (g / "gallery.db").write_bytes(b"x" * 5000), r"gallery\.db: damaged"),
        (lambda g: os.truncate(g / "gallery.db", 4096), r"gallery\.db: damaged"),
    ],
)
def test_damaged_galleries_are_named(tmp_path, damage, message):
    _build(tmp_path / "g")
    damage(tmp_path / "g")
    with pytest.raises(InputError, match=message):
        Gallery.open(tmp_path / "g")


def _edit(gallery, key, value):
    manifest = json.loads((gallery / "manifest.json").read_text())
    (gallery / "manifest.json").write_text(json.dumps(manifest | {key: value}))


def test_flipped_bytes_are_found_by_verifying(tmp_path):
    _build(tmp_path / "g")
    path = segment(tmp_path / "g") / "cutouts.bin"
    data = bytearray(path.read_bytes())
    data[50] ^= 1
    path.write_bytes(data)
    Gallery.open(tmp_path / "g").close()
    with pytest.raises(InputError, match=r"cutouts\.bin: its checksum differs"):
        Gallery.open(tmp_path / "g", verify=True)


# Interrupted


def test_a_rebuild_replaces_and_does_not_disturb_readers(tmp_path):
    _build(tmp_path / "g")
    old = Gallery.open(tmp_path / "g")
    _build(tmp_path / "g", Records(_records(2)))
    new = Gallery.open(tmp_path / "g")
    assert (len(old), len(new)) == (7, 2)
    np.testing.assert_array_equal(old.cutout(old.row_of("fg6")), disc((75, 0, 180), 30, 20))
    assert old.category("car").embeddings.shape == (3, 3)
    old.close()
    new.close()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
def test_a_disk_that_refuses_leaves_the_previous_gallery(tmp_path, monkeypatch, code):
    _build(tmp_path / "g")

    def refuse(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fos_jax.gallery.segment_writing.np.save", refuse)
    with pytest.raises(InputError, match=f"g: cannot be written .*{os.strerror(code)}"):
        _build(tmp_path / "g", Records(_records(2)))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["g"]
    gallery = Gallery.open(tmp_path / "g", verify=True)
    assert len(gallery) == 7
    gallery.close()


_CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from fake_bundle import FakeBundle
from test_gallery import Records, _build, _records

class Slow(Records):
    def __iter__(self):
        for i, record in enumerate(self.records):
            print(i, flush=True)
            time.sleep({pause})
            yield record

_build(Path({path!r}), Slow(_records(5)), batch_size=1)
print("built", flush=True)
"""


def _start(path, pause):
    code = _CHILD.format(tests=str(Path(__file__).parent), path=str(path), pause=pause)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("moment", ["0", "3", "built"])
def test_a_killed_build_leaves_the_previous_gallery_and_the_next_cleans_up(tmp_path, moment):
    _build(tmp_path / "g")
    with _start(tmp_path / "g", 0.05) as child:
        for line in child.stdout:
            if line.strip() == moment:
                time.sleep(0.01)
                child.send_signal(signal.SIGKILL)
    gallery = Gallery.open(tmp_path / "g", verify=True)
    assert len(gallery) == (5 if moment == "built" else 7)
    gallery.close()
    if moment != "built":
        assert len(list(tmp_path.iterdir())) == 2  # the leftover
    _build(tmp_path / "g", Records(_records(2)))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["g"]


def test_a_file_size_limit_is_a_full_disk(tmp_path):
    _build(tmp_path / "g")
    code = _CHILD.format(tests=str(Path(__file__).parent), path=str(tmp_path / "g"), pause=0)

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    ended = subprocess.run([sys.executable, "-Bc", code], capture_output=True, text=True, preexec_fn=limit)
    assert ended.returncode != 0
    assert "InputError" in ended.stderr
    assert "File too large" in ended.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["g"]
    Gallery.open(tmp_path / "g", verify=True).close()


def test_the_bundle_is_found_where_the_gallery_went(tmp_path):
    (tmp_path / "run" / "bundle").mkdir(parents=True)
    build_gallery(Records(_records()), FakeBundle(), tmp_path / "run" / "g", bundle_path=tmp_path / "run" / "bundle")
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    gallery = Gallery.open(tmp_path / "elsewhere" / "g")
    assert gallery.bundle_path.resolve() == tmp_path / "elsewhere" / "bundle"
    shutil.rmtree(tmp_path / "elsewhere" / "bundle")
    assert gallery.bundle_path is None
    gallery.close()


def test_the_table_is_the_bundles(tmp_path):
    table = make_table(("car", "chair", "boat"))
    _build(tmp_path / "g", bundle=FakeBundle(table=table))
    gallery = Gallery.open(tmp_path / "g")
    assert gallery.table == table
    gallery.close()
