"""Compaction: one new segment of all that is live, written beside running searches and writers."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fos_jax.errors import InputError
from fos_jax.gallery import store
from fos_jax.gallery.columns import Columns
from fos_jax.gallery.foregrounds import Foregrounds
from fos_jax.gallery.gallery import SEGMENTS, Gallery
from fos_jax.gallery.segment import Segment, VectorsOf
from fos_jax.gallery.snapshot import Snapshot
from fos_jax.gallery.store import Place
from fos_jax.gallery.verification import verify_gallery
from fos_jax.gallery.writer import GalleryWriter, remove_unlisted, segments_lock

_CHUNK = 512  # foregrounds whose pictures are in memory at once
_ATTEMPTS = 3


class Compacted(NamedTuple):
    """What a compaction did: its sequence number, segments and foregrounds before, and foregrounds written."""

    sequence: int
    num_segments: int
    num_before: int
    num_written: int


class _RolledBackMeanwhile(Exception):
    """Something came back that the new segment lacks."""


def compact(gallery: str | Path, *, wait_s: float = 10.0, note: str = "") -> Compacted:
    """Writes all live foregrounds into one segment with new indexes, and puts it in the place of all before.

    Searches and writers go on meanwhile: what changes is carried over in the transaction that swaps the segments. The
    past before it cannot be rolled back to any more.

    Args:
      gallery: its folder.
      wait_s: how long to wait for another compaction or writer; 0 to be refused at once.
      note: for the journal.

    Raises:
      InputError: no gallery, a damaged one (nothing of it is copied), another compaction, or a disk that refuses. The
        gallery is as it was.
    """
    gallery = Path(gallery)
    with GalleryWriter(gallery, wait_s=wait_s) as writer, segments_lock(gallery, wait_s=wait_s):
        if findings := verify_gallery(gallery):
            raise InputError(f"{findings[0]}; not compacted ({len(findings)} findings: fos gallery verify lists all)")
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(_RolledBackMeanwhile):
                done = _compact(gallery, writer, note)
                remove_unlisted(gallery)
                return done
        raise InputError(f"{gallery}: was rolled back while it was compacted, {_ATTEMPTS} times; compact it again")


def _compact(gallery: Path, writer: GalleryWriter, note: str) -> Compacted:
    with contextlib.closing(Gallery.open(gallery)) as opened:
        state = opened.snapshot()
        last_number, num_written, name = state.recent.last_number, len(state), ""
        if num_written:
            with writer.new_segment() as (name, segment):
                for batch in live_foregrounds(state):
                    segment.add(batch)
                checksum = segment.finish()
        new = Segment(gallery / SEGMENTS / name, writer.layout, with_indexes=False) if name else None
        num_before = state.first_recent + state.num_recent
        with writer.store.writing() as db:
            moved: dict[Place, Place] = {}
            for change in store.changes(db, after=state.sequence):
                if not change.place.segment and change.place.row > last_number:
                    continue  # came since, stays recent
                row = None if new is None else new.find(change.id)
                if change.is_live or row is None:
                    raise _RolledBackMeanwhile
                moved[change.place] = Place(name, row)
            store.swap_segments(db, {name: checksum} if name else {}, last_number, state.sequence, moved)
            number = store.add_entry(db, "compact", note=note)
        return Compacted(number, len(state.segments), num_before, num_written)


def live_foregrounds(
    state: Snapshot, choose: Callable[[Columns, np.ndarray], np.ndarray] | None = None
) -> Iterator[Foregrounds]:
    """All live foregrounds, category by category.

    Args:
      state: of a gallery.
      choose: (metadata, int64 [m]) -> bool [m], which of these rows are wanted; others are not read. None for all.
    """
    for category in state.categories:
        mirrored = {first: of for of, first, _ in state.parts(category, mirrored=True)}
        for of, first, live in state.parts(category, mirrored=False):
            rows = np.arange(len(of)) if live is None else np.flatnonzero(live)
            flipped = mirrored.get(first)
            place_of = np.full(len(of), -1)
            if flipped is not None:
                place_of[np.searchsorted(np.asarray(of.rows), flipped.rows)] = np.arange(len(flipped))
            for start in range(0, len(rows), _CHUNK):
                chunk = rows[start : start + _CHUNK]
                chunk = chunk if choose is None else chunk[choose(of.columns, chunk)]
                if len(chunk):
                    yield _chunk(state, category, of, first, chunk, flipped, place_of)


def _chunk(
    state: Snapshot,
    category: str,
    of: VectorsOf,
    first: int,
    places: np.ndarray,
    flipped: VectorsOf | None,
    place_of: np.ndarray,
) -> Foregrounds:
    numbers = (of.rows[places] + first).tolist()
    m = place_of[places]
    own, m = np.flatnonzero(m >= 0), m[m >= 0]
    return Foregrounds(
        category,
        of.columns.take(places),
        of.embeddings[places],
        of.vectors[places],
        [state.picture(row, "thumbnail") for row in numbers],
        [state.picture(row, "cutout") for row in numbers],
        own,
        of.embeddings[:0] if flipped is None else flipped.embeddings[m],
        of.vectors[:0] if flipped is None else flipped.vectors[m],
    )
