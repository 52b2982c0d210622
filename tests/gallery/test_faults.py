"""Damaged files, full disks and folders that cannot be written: refused by name, nothing lost."""

import contextlib
import errno
import os
import shutil
import sqlite3
import sys

import numpy as np
import pytest
from small_gallery import content, create, make

from fos_jax.errors import InputError
from fos_jax.gallery import store, writer
from fos_jax.gallery.compaction import compact
from fos_jax.gallery.gallery import Gallery
from fos_jax.gallery.indexing import Indexing
from fos_jax.gallery.verification import verify_gallery
from fos_jax.gallery.writer import GalleryWriter


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A gallery with a segment, mirrored and recent foregrounds and removed ones."""
    path = tmp_path_factory.mktemp("faults") / "g"
    cars = make([f"car{i}" for i in range(40)], mirrored=True, licence=["CC0"] * 40)
    create(path, [cars, make(["lamp0"], "lamp")])
    with GalleryWriter(path) as change:
        change.add([make(["new0", "new1"], mirrored=True)])
        change.remove(["car0", "new1"])
    return path


@pytest.fixture
def path(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "g")
    return tmp_path / "g"


def files(path):
    return sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file() and p.name != writer.LOCK)


def open_all(path):
    with contextlib.closing(Gallery.open(path)) as gallery:
        state = gallery.snapshot()
        for name in state.categories:
            for ranking in ("cosine", "posterior"):
                rows = state.category(name, mirror=True)
                rows.search(np.ones(rows.vectors(ranking).shape[1], np.float32), ranking, 5)


def test_what_is_damaged_is_named(whole, tmp_path):
    """Every file, shortened and with flipped bits: verifying names it; opening refuses short ones, never dies."""
    rng = np.random.default_rng(0)
    names = files(whole)
    assert {"manifest.json", "patterns.json", "gallery.db"} < set(names)
    for name in names:
        data = (whole / name).read_bytes()
        for damage in ("short", "flipped"):
            if not data:
                continue
            path = tmp_path / "g"
            shutil.rmtree(path, ignore_errors=True)
            shutil.copytree(whole, path)
            where = sorted(rng.integers(0, len(data), 3).tolist()) if len(data) < 9000 else range(0, len(data), 997)
            flipped = bytearray(data)
            for place in where:
                flipped[place] ^= 1 << int(rng.integers(8))
            (path / name).write_bytes(data[: len(data) // 2] if damage == "short" else flipped)
            try:
                findings = verify_gallery(path)
            except InputError as error:
                findings = [str(error)]
            assert findings, (name, damage)
            assert any(name.split("/")[-1].removesuffix("-wal") in finding for finding in findings), (name, findings)
            if damage == "short":
                with pytest.raises(InputError):
                    open_all(path)
            else:
                with contextlib.suppress(InputError):
                    open_all(path)
            with pytest.raises(InputError):
                compact(path)


@pytest.mark.skipif(sys.platform != "linux", reason="ScaNN is published for Linux only")
def test_a_damaged_index_is_named(tmp_path):
    """A library reads it and trusts it: its size is checked at opening, its bits by verifying."""
    path = create(tmp_path / "g", [make([f"car{i}" for i in range(300)])], indexing=Indexing(300))
    file = max(path.rglob("index_cosine/*"), key=lambda p: p.stat().st_size)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert verify_gallery(path) == [f"{file}: its checksum differs from the one in {file.parents[2] / 'segment.json'}"]
    file.write_bytes(data[:-1])
    with pytest.raises(InputError, match=f"{file.name}: {len(data) - 1} bytes, expected {len(data)}"):
        Gallery.open(path)


def test_verify_lists_all(path):
    segment = next((path / "segments").iterdir())
    for name in ("cutouts.bin", "0/vectors.npy"):
        data = bytearray((segment / name).read_bytes())
        data[200] ^= 4
        (segment / name).write_bytes(data)
    os.truncate(segment / "thumbnails.bin", 9)
    (segment / "id_rows.npy").unlink()
    with contextlib.closing(sqlite3.connect(path / "gallery.db")) as db:
        db.execute("UPDATE recent SET cutout = x'00' WHERE id = 'new0'")
        db.execute("INSERT INTO tombstone VALUES ((SELECT name FROM segment), 99999)")
        db.commit()
    findings = "\n".join(verify_gallery(path))
    for expected in (
        "checksum of recent foreground new0 differs",
        "cutouts.bin: its checksum differs",
        "vectors.npy: its checksum differs",
        "thumbnails.bin: 9 bytes, expected",
        "id_rows.npy: missing",
    ):
        assert expected in findings
    with pytest.raises(InputError, match="not compacted"):
        compact(path)


def test_an_id_that_is_there_twice_is_found(path):
    with contextlib.closing(sqlite3.connect(path / "gallery.db")) as db:
        db.execute("DELETE FROM tombstone")
        db.execute("UPDATE recent SET id = 'car0', is_live = 1 WHERE id = 'new0'")
        db.commit()
    assert any("id car0 is there 2 times" in finding for finding in verify_gallery(path))


def test_a_full_database_refuses_and_loses_nothing(path):
    with contextlib.closing(Gallery.open(path)) as gallery, GalleryWriter(path) as change:
        before = content(gallery)
        (pages,) = change.store._db.execute("PRAGMA page_count").fetchone()
        change.store._db.execute(f"PRAGMA max_page_count={pages + 2}")
        with pytest.raises(InputError, match=r"gallery\.db: refused \(database or disk is full\)"):
            change.add([make([f"more{i}" for i in range(200)])])
        assert content(gallery) == before
        change.store._db.execute(f"PRAGMA max_page_count={pages + 5000}")
        change.add([make([f"more{i}" for i in range(200)])])
        assert len(content(gallery)) == len(before) + 200
    assert verify_gallery(path) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_refuses_any_write_of_a_segment(path, monkeypatch, code):
    """The first write fails, then the second, ... of compacting and of adding many, until one gets through."""
    monkeypatch.setattr(writer, "MOST_RECENT", 3)
    monkeypatch.setattr("fos_jax.files._PAUSE_S", 0.0)
    with contextlib.closing(Gallery.open(path)) as gallery:
        before, sequence = content(gallery), gallery.snapshot().sequence
        listed = {p.name for p in (path / "segments").iterdir()}
        for number, action in enumerate((lambda: compact(path), lambda: _add(path))):
            for allowed in range(200):
                with monkeypatch.context() as patched:
                    left = _limit_writes(patched, allowed, code)
                    try:
                        action()
                    except InputError as error:
                        assert os.strerror(code) in str(error)  # noqa: PT017
                    else:
                        break
                assert left() == 0
                assert gallery.refresh().sequence == sequence
                assert {p.name for p in (path / "segments").iterdir()} == listed
            assert allowed > 5
            now = content(gallery)
            assert now.keys() == before.keys() | ({f"m{i}" for i in range(5)} if number else set())
            sequence, listed = gallery.snapshot().sequence, {p.name for p in (path / "segments").iterdir()}
    assert verify_gallery(path) == []


def _add(path):
    with GalleryWriter(path) as change:
        change.add([make([f"m{i}" for i in range(5)])])


def _limit_writes(patched, allowed, code):
    """Lets so many files be opened for writing in segments, and fsyncs; returns how many are left."""
    from pathlib import Path

    left = [allowed]
    opened, synced, saved = Path.open, os.fsync, np.save

    def spend():
        if not left[0]:
            raise OSError(code, os.strerror(code))
        left[0] -= 1

    def open_(self, mode="r", *args, **options):
        if "w" in mode:
            spend()
        return opened(self, mode, *args, **options)

    def fsync(descriptor):
        spend()
        synced(descriptor)

    def save(*args, **options):
        spend()
        saved(*args, **options)

    patched.setattr(Path, "open", open_)
    patched.setattr(os, "fsync", fsync)
    patched.setattr(np, "save", save)
    return lambda: left[0]


@pytest.mark.parametrize("message", ["unable to open database file", "attempt to write a readonly database"])
def test_a_folder_that_cannot_be_written_is_searched_and_not_changed(path, monkeypatch, message):
    """As on a read-only disk or in another user's folder: there SQLite cannot make the files that readers share."""
    with contextlib.closing(sqlite3.connect(path / "gallery.db")) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (path / "gallery.db-wal").unlink(missing_ok=True)
    connect = store.Store._connect

    class ReadOnly:
        def execute(self, *_):
            raise sqlite3.OperationalError(message)

        def close(self):
            pass

    monkeypatch.setattr(
        store.Store, "_connect", lambda s, mode: connect(s, mode) if "immutable" in mode else ReadOnly()
    )
    with contextlib.closing(Gallery.open(path)) as gallery:
        assert len(gallery) == 41
    with pytest.raises(InputError, match=rf"gallery\.db: refused \({message}\)"):
        GalleryWriter(path)


def test_a_lock_that_cannot_be_made(path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", refuse)
    with (
        pytest.raises(InputError, match=r"segments\.lock: cannot be written \(Read-only file system\)"),
        writer.segments_lock(path, wait_s=0),
    ):
        pass


def test_k_beyond_the_size_and_queries_that_are_none(path):
    with contextlib.closing(Gallery.open(path)) as gallery:
        rows = gallery.category("car")
        scores, places = rows.search(np.float32([1, 0, 0, 0]), "cosine", 10_000)
        assert len(places) == len(set(places.tolist())) == len(rows) == 40
        assert (np.diff(scores) <= 0).all()
        for bad in (np.zeros(3), np.full(4, np.nan), np.zeros((1, 4))):
            with pytest.raises(InputError, match=r"query vector: .* expected 4 finite numbers"):
                rows.search(bad.astype(np.float32), "cosine", 5)
        with pytest.raises(InputError, match="unknown 'x', expected posterior or cosine"):
            rows.search(np.zeros(4, np.float32), "x", 5)


@pytest.mark.parametrize("share", [0.5, 0.2, 0.02])
def test_filtered_search_is_exact_filtered_search(path, share):
    """Exactly k where k exist, under tombstones and with recent foregrounds, against a sorted loop."""
    rng = np.random.default_rng(1)
    with contextlib.closing(Gallery.open(path)) as gallery:
        rows = gallery.category("car", mirror=True)
        for ranking in ("cosine", "posterior"):
            allowed = rng.random(rows.num_places) < share
            vector = np.asarray(rows.vectors(ranking)[7])
            product = np.where(allowed & rows.is_live, rows.vectors(ranking) @ vector, -np.inf)
            k = 20
            scores, places = rows.search(vector, ranking, k, allowed=allowed)
            wanted = np.sort(product)[::-1][: min(k, int(np.isfinite(product).sum()))]
            assert len(places) == len(wanted)
            np.testing.assert_allclose(scores, product[places], rtol=1e-5)
            assert (scores >= wanted[-1] - 1e-5).mean() >= 0.9
