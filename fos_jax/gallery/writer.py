"""Changing a gallery: foregrounds are added, replaced and removed, each change in one transaction."""

import contextlib
import fcntl
import os
import shutil
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from fos_jax.errors import InputError
from fos_jax.files import published_directory
from fos_jax.gallery import store
from fos_jax.gallery.foregrounds import Foregrounds
from fos_jax.gallery.gallery import SEGMENTS, read_layout, read_manifest
from fos_jax.gallery.indexing import Indexing
from fos_jax.gallery.segment import Segment
from fos_jax.gallery.segment_writing import SegmentWriter
from fos_jax.gallery.store import Change, Place

LOCK = "segments.lock"
MOST_RECENT = 2_000  # foregrounds that one change keeps in the database; more become a segment at once
_PAUSE_S = 0.05


class GalleryWriter:
    """Changes a gallery. When a method returns, its change is on the disk and visible to all who have it open.

    Any number of processes may have writers: each change waits for the one before.
    """

    def __init__(self, path: str | Path, *, wait_s: float = 10.0):
        """Opens a gallery for changes.

        Args:
          path: its folder.
          wait_s: how long to wait for another writer; 0 to be refused at once.

        Raises:
          InputError: no gallery there, one of an earlier format, or a damaged one.
        """
        self.path, self.wait_s = Path(path), wait_s
        self.manifest = read_manifest(self.path)
        self.layout = read_layout(self.path, self.manifest)
        self.store = store.Store(self.path, is_writer=True, wait_s=wait_s)
        self._segments: dict[str, Segment] = {}

    def __enter__(self) -> "GalleryWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection to the database."""
        self.store.close()

    def add(self, batches: Iterable[Foregrounds], *, note: str = "") -> int:
        """Adds foregrounds, all or none; returns the sequence number of the change.

        Args:
          batches: what to add. More than `MOST_RECENT` are written batch by batch into a segment of their own.
          note: for the journal.

        Raises:
          InputError: vectors that a gallery refuses (`Foregrounds.check`), an id that is there or comes twice, no
            foreground at all, another writer for too long, or a disk that refuses. The gallery is as it was.
        """
        return self._take(batches, "add", note, is_there="refuse", is_missing="add")

    def replace(self, batches: Iterable[Foregrounds], *, add_missing: bool = False, note: str = "") -> int:
        """Puts foregrounds in the place of those with the same ids, all or none.

        Args:
          batches, note: as `add`. add_missing: whether an id that is not there is added, not refused.

        Returns: sequence number of the change.
        Raises: InputError as `add`, and for an id that is not there.
        """
        missing: Literal["add", "refuse"] = "add" if add_missing else "refuse"
        return self._take(batches, "replace", note, is_there="remove", is_missing=missing)

    def remove(self, ids: Sequence[str], *, note: str = "") -> int:
        """Removes foregrounds, all or none; returns the sequence number of the change.

        Raises:
          InputError: an id that is not there or comes twice, none at all, another writer for too long, or a disk that
            refuses.
        """
        _check_ids(ids)
        with self.store.writing() as db:
            places = [self._place(db, identifier) for identifier in ids]
            unknown = [identifier for identifier, place in zip(ids, places, strict=True) if place is None]
            if unknown:
                more = f" nor {len(unknown) - 1} others" if unknown[1:] else ""
                raise InputError(f"id: no foreground {unknown[0]!r}{more} in {self.path}")
            number = store.add_entry(db, "remove", removed=len(ids), note=note)
            found = zip(ids, places, strict=True)
            store.set_live(db, [Change(number, place, identifier, False) for identifier, place in found if place])
        return number

    def rollback(self, to: int, *, note: str = "") -> int:
        """Makes the gallery hold what it held after a change, as a change of its own that can be rolled back too.

        Args:
          to: sequence number of the journal. note: for the journal.

        Returns: sequence number of the new change.
        Raises: InputError where that is before the last compaction, in the future, or nothing changed since.
        """
        with self.store.writing() as db:
            oldest, newest = store.setting(db, store.HORIZON), store.sequence(db)
            if not oldest <= to <= newest:
                raise InputError(f"to: got {to}, expected {oldest} (the last compaction or build) to {newest} (now)")
            before: dict[Place, Change] = {}
            now: dict[Place, Change] = {}
            for change in store.changes(db, after=to):
                before.setdefault(change.place, change)
                now[change.place] = change
            back = [change for place, change in now.items() if change.is_live == before[place].is_live]
            if not back:
                raise InputError(f"to: nothing in {self.path} differs from what it was after change {to}")
            back.sort(key=lambda change: not change.is_live)  # what is removed makes room for ids that come back
            removed = sum(change.is_live for change in back)
            text = f"to {to}" + (f": {note}" if note else "")
            number = store.add_entry(db, "rollback", added=len(back) - removed, removed=removed, note=text)
            flipped = [change._replace(sequence=number, is_live=not change.is_live) for change in back]
            store.set_live(db, flipped)
        return number

    def _take(
        self,
        batches: Iterable[Foregrounds],
        action: str,
        note: str,
        *,
        is_there: Literal["refuse", "remove"],
        is_missing: Literal["add", "refuse"],
    ) -> int:
        held, rest, n = list[Foregrounds](), iter(batches), 0
        for batch in rest:
            batch.check(self.layout)
            held.append(batch)
            n += len(batch)
            if n > MOST_RECENT:
                break
        ids = [identifier for batch in held for identifier in batch.ids]

        def commit(insert: Callable[[sqlite3.Connection], list[Place]]) -> int:
            _check_ids(ids)
            with self.store.writing() as db:
                old = {identifier: self._place(db, identifier) for identifier in ids}
                there = [identifier for identifier, place in old.items() if place]
                if there and is_there == "refuse":
                    raise InputError(f"id: {there[0]!r} is in {self.path} already")
                if len(there) < len(ids) and is_missing == "refuse":
                    missing = [identifier for identifier, place in old.items() if not place]
                    raise InputError(f"id: no foreground {missing[0]!r} in {self.path} to replace")
                number = store.add_entry(db, action, added=len(ids), removed=len(there), note=note)
                store.set_live(db, [Change(number, place, i, False) for i, place in old.items() if place])
                places = insert(db)
                store.set_live(db, [Change(number, place, i, True) for i, place in zip(ids, places, strict=True)])
            return number

        if n <= MOST_RECENT:
            return commit(lambda db: [place for batch in held for place in store.insert_recent(db, batch)])
        with segments_lock(self.path, wait_s=self.wait_s):
            written = held
            with self.new_segment() as (name, segment):
                for batch in written:
                    segment.add(batch)
                for batch in rest:
                    segment.add(batch)
                    ids += batch.ids
                checksum = segment.finish()
            rows = Segment(self.path / SEGMENTS / name, self.layout, with_indexes=False)

            def insert(db: sqlite3.Connection) -> list[Place]:
                store.add_segment(db, name, checksum)
                return [Place(name, row) for identifier in ids if (row := rows.find(identifier)) is not None]

            try:
                return commit(insert)
            except BaseException:
                shutil.rmtree(self.path / SEGMENTS / name, ignore_errors=True)
                raise

    @contextlib.contextmanager
    def new_segment(self) -> Iterator[tuple[str, SegmentWriter]]:
        """Name and writer of a segment that is on the disk when the block ends, to be listed then or removed.

        Only for holders of `segments_lock`.
        """
        name = f"{time.time_ns() // 1000:016d}x{uuid.uuid4().hex[:8]}"  # names sort by age
        folder = self.path / SEGMENTS / name
        with published_directory(folder) as aside:
            aside.rmdir()  # its writer makes it
            with SegmentWriter(aside, self.layout, Indexing.read(self.path, self.manifest)) as writer:
                yield name, writer
        try:
            flush_folder(folder.parent)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise InputError(f"{folder}: cannot be written ({error.strerror})") from error

    def _place(self, db: sqlite3.Connection, identifier: str) -> Place | None:
        """Where the live foreground of an id is; None where there is none."""
        if number := store.live_recent(db, identifier):
            return Place("", number)
        for name, checksum in store.segments(db).items():
            if name not in self._segments:
                folder = self.path / SEGMENTS / name
                try:
                    self._segments[name] = Segment(folder, self.layout, checksum=checksum, with_indexes=False)
                except FileNotFoundError:
                    raise InputError(f"{folder}: missing, though {self.store.path} lists it") from None
            row = self._segments[name].find(identifier)
            if row is not None and not store.is_removed(db, Place(name, row)):
                return Place(name, row)
        return None


@contextlib.contextmanager
def segments_lock(gallery: Path, *, wait_s: float) -> Iterator[None]:
    """A block in which no other process writes segments, and folders of killed processes are gone.

    Raises:
      InputError: another process holds it for longer than `wait_s`, or the folder cannot be written.
    """
    path, deadline = gallery / LOCK, time.monotonic() + wait_s
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() >= deadline:
                    raise InputError(f"{gallery}: another process is compacting it or adding many") from None
                time.sleep(_PAUSE_S)
        remove_unlisted(gallery)
        yield
    finally:
        os.close(descriptor)


def remove_unlisted(gallery: Path) -> None:
    """Deletes the folders of segments that are not live; only for holders of `segments_lock`."""
    # By descriptor, opened first: where the gallery is replaced meanwhile, nothing of the new one is touched.
    descriptor = os.open(gallery / SEGMENTS, os.O_RDONLY)
    try:
        there = set(os.listdir(descriptor))
        with store.Store(gallery) as database, database.reading() as db:
            live = store.segments(db)
        for name in there - live.keys():
            shutil.rmtree(name, ignore_errors=True, dir_fd=descriptor)
    finally:
        os.close(descriptor)


def flush_folder(folder: Path) -> None:
    """Forces a folder's list of names to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_ids(ids: Sequence[str]) -> None:
    if not ids:
        raise InputError("id: none given, expected one or more")
    if len(set(ids)) != len(ids):
        seen: set[str] = set()
        twice = next(identifier for identifier in ids if identifier in seen or seen.add(identifier))  # type: ignore[func-returns-value]
        raise InputError(f"id: {twice!r} comes twice")
