"""Backends: where foregrounds are kept and candidates come from.

`InMemory` searches exactly, `Segments` is a gallery's folder with its indexes, and `milvus.gallery.MilvusGallery` is a
database of vectors. Ranking, rules, hits and reasons are the same code for all of them: a backend gives a snapshot that
holds the best of every list that is wished for, and that snapshot is searched.
"""

import abc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from fos_jax.errors import InputError
from fos_jax.gallery import store
from fos_jax.gallery.compaction import live_foregrounds
from fos_jax.gallery.foregrounds import Foregrounds, Layout
from fos_jax.gallery.gallery import Gallery, bundle_path, check_bundle
from fos_jax.gallery.recent import Recent
from fos_jax.gallery.snapshot import CategoryRows, RankBy, Snapshot
from fos_jax.gallery.writer import GalleryWriter
from fos_jax.retrieval.rules import NO_FILTERS, Filters, Place


class Wish(NamedTuple):
    """A list that a search makes: the k foregrounds of highest inner product with a vector, highest first.

    Attributes:
      vector: float32 [d], as `CategoryRows.query_vector` makes it.
      ranking: which vectors it is multiplied with.
      k: how many.
      pattern: id of the only pattern that is wanted, None for any.
    """

    vector: np.ndarray
    ranking: RankBy
    k: int
    pattern: int | None = None


class Ranked(NamedTuple):
    """A foreground of a list."""

    id: str
    score: float
    is_mirrored: bool


class Backend(abc.ABC):
    """What every backend can do; all but `close` raise `InputError` in one line. Here the snapshot holds everything.

    Attributes:
      layout: of the vectors.
      manifest: of the gallery that it holds.
      consistency: when a change by others is seen, in words.
      where: what messages call it.
      path: the folder of the gallery that it stands for.
    """

    layout: Layout
    manifest: Mapping[str, Any]
    consistency: str
    where: str
    path = Path()

    @abc.abstractmethod
    def snapshot(self) -> Snapshot:
        """The foregrounds as they are."""

    @abc.abstractmethod
    def upsert(self, batches: Iterable[Foregrounds]) -> None:
        """Adds foregrounds, or puts them in the place of those with the same ids."""

    @abc.abstractmethod
    def delete(self, ids: Sequence[str]) -> None:
        """Removes foregrounds; refuses ids that are not there before it removes any."""

    @abc.abstractmethod
    def close(self) -> None:
        """Frees what the backend holds."""

    def candidates(
        self,
        category: str,
        wishes: Sequence[Wish] = (),
        filters: Filters = NO_FILTERS,
        place: Place | None = None,
    ) -> Snapshot:
        """Foregrounds of a category: at least the best of every wish among those that pass, and maybe all there are."""
        state = self.snapshot()
        state.category(category)  # refuses unknown names
        return state

    def count(
        self, category: str, filters: Filters = NO_FILTERS, place: Place | None = None, *, pattern: int | None = None
    ) -> int:
        """How many foregrounds pass, one that passes mirrored too counted once."""
        rows = self.snapshot().category(category, mirror=filters.mirror)
        return rows.count(filters.allowed(rows, place), pattern)

    def batches(self) -> Iterator[Foregrounds]:
        """All foregrounds with their pictures, a few hundred at a time."""
        return live_foregrounds(self.snapshot())

    # What `ForegroundSearch` asks of a gallery besides.

    def category(self, name: str, *, mirror: bool = False) -> CategoryRows:
        """See `Snapshot.category`."""
        return self.snapshot().category(name, mirror=mirror)

    def check_bundle(self, fingerprint: str) -> None:
        """See `Gallery.check_bundle`."""
        check_bundle(Path(self.where), dict(self.manifest), fingerprint)

    @property
    def bundle_path(self) -> Path | None:
        """See `Gallery.bundle_path`."""
        return bundle_path(self.path, dict(self.manifest))


def ranked(
    backend: Backend, category: str, wish: Wish, filters: Filters = NO_FILTERS, place: Place | None = None
) -> list[Ranked]:
    """One wish's list from any backend; scores are exact."""
    state = backend.candidates(category, [wish], filters, place)
    rows = state.category(category, mirror=filters.mirror)
    allowed = filters.allowed(rows, place)
    scores, places = rows.search(wish.vector, wish.ranking, wish.k, allowed=allowed, pattern=wish.pattern)
    found = [rows.locate(place) for place in places.tolist()]
    return [
        Ranked(part.columns.value("id", own), score, part.is_mirrored)
        for (part, own), score in zip(found, scores.tolist(), strict=True)
    ]


class Segments(Backend):
    """A gallery's folder."""

    consistency = "a search sees what was acknowledged 0.1 s before it, and this process's own changes at once"

    def __init__(self, path: str | Path):
        """Opens it; `InputError` as `Gallery.open`."""
        self.gallery = Gallery.open(path)
        self.where, self.path = str(path), self.gallery.path
        self.layout, self.manifest = self.gallery.layout, self.gallery.manifest

    def snapshot(self) -> Snapshot:
        """See `Gallery.snapshot`."""
        return self.gallery.snapshot()

    def upsert(self, batches: Iterable[Foregrounds]) -> None:
        """All or none; see `Backend`."""
        with GalleryWriter(self.gallery.path) as writer:
            writer.replace(batches, add_missing=True)
        self.gallery.refresh()

    def delete(self, ids: Sequence[str]) -> None:
        """All or none; see `Backend`."""
        with GalleryWriter(self.gallery.path) as writer:
            writer.remove(ids)
        self.gallery.refresh()

    def close(self) -> None:
        """See `Gallery.close`."""
        self.gallery.close()


class InMemory(Backend):
    """Foregrounds in memory, pictures included, of which every inner product is computed; for one thread."""

    consistency = "a search sees every change that was made before it"
    where = "memory"

    def __init__(self, layout: Layout, manifest: Mapping[str, Any], *, path: Path = Path()):
        """Nothing so far; the manifest and the path are those of the gallery that this stands for."""
        self.layout, self.manifest, self.path = layout, manifest, path
        self.table, self.experts = layout.table, layout.experts
        self._recent = Recent(layout, where=self.where)
        self._pictures: list[tuple[bytes, bytes]] = []
        self._number_of: dict[str, int] = {}

    @classmethod
    def read(cls, gallery: str | Path) -> Self:
        """Holds what a gallery's folder holds now; `InputError` as `Gallery.open`."""
        opened = Segments(gallery)
        try:
            made = cls(opened.layout, opened.manifest, path=opened.gallery.path)
            made.upsert(opened.batches())
            return made
        finally:
            opened.close()

    def snapshot(self) -> Snapshot:
        """See `Backend`."""
        has_mirrored = bool(self.manifest.get("mirror"))
        return Snapshot(self.where, self.layout, 0, [], self._recent, self._find_picture, has_mirrored=has_mirrored)

    def _find_picture(self, snapshot: Snapshot, number: int, blob: str) -> bytes:
        return self._pictures[number][blob == "cutout"]

    def upsert(self, batches: Iterable[Foregrounds]) -> None:
        """See `Backend`."""
        for batch in batches:
            batch.check(self.layout)
            rows = []
            for row in store.rows_of(batch):
                if row.id in self._number_of:
                    self._recent.set_live(self._number_of[row.id], False)
                self._pictures.append((row.thumbnail, row.cutout))
                self._number_of[row.id] = len(self._pictures)
                rows.append(row._replace(number=len(self._pictures)))
            self._recent.append(rows)

    def delete(self, ids: Sequence[str]) -> None:
        """See `Backend`."""
        check_ids(ids, [i for i in ids if i not in self._number_of], self.where)
        for identifier in ids:
            self._recent.set_live(self._number_of.pop(identifier), False)

    def close(self) -> None:
        """See `Backend`."""


def check_ids(ids: Sequence[str], unknown: Sequence[str], where: str) -> None:
    """`InputError` where no ids are given, one comes twice, or some are not there."""
    if not ids:
        raise InputError("id: none given, expected one or more")
    if len(set(ids)) != len(ids):
        raise InputError(f"id: {next(i for i in ids if list(ids).count(i) > 1)!r} comes twice")
    if unknown:
        more = f" nor {len(unknown) - 1} others" if unknown[1:] else ""
        raise InputError(f"id: no foreground {unknown[0]!r}{more} in {where}")
