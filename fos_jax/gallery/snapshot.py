"""A snapshot: the foregrounds that a gallery held at one moment, which never change while a search uses them."""

import bisect
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from fos_jax.errors import InputError
from fos_jax.gallery.foregrounds import SCHEMA, Layout, Query, all_categories
from fos_jax.gallery.recent import Recent
from fos_jax.gallery.segment import BLOBS, RANKINGS, RankBy, Segment, VectorsOf
from fos_jax.gallery.stacked import Stacked
from fos_jax.images import read_cutout
from fos_jax.index.exact import ExactIndex

_LEAST = np.float32(1e-37)  # of probabilities whose logarithm is taken


class Snapshot:
    """Foregrounds of a moment. A row counts those of the segments and behind them the recent ones, removed ones too."""

    def __init__(
        self,
        path: Path | str,
        layout: Layout,
        sequence: int,
        segments: Sequence[tuple[Segment, np.ndarray | None]],
        recent: Recent,
        find_picture: Callable[["Snapshot", int, str], bytes],
        *,
        has_mirrored: bool,
    ):
        """Takes the state as it is now.

        Args:
          path: the gallery's folder, or what messages call it. layout: of its vectors. sequence: of the newest change.
          segments: each with bool [n], which rows are live, None for all.
          recent: may grow afterwards.
          find_picture: reads the picture of a recent row.
          has_mirrored: whether mirrored cut-outs are held.
        """
        self.path, self.layout, self.table, self.sequence = path, layout, layout.table, sequence
        self.experts, self.has_mirrored = layout.experts, has_mirrored
        self.segments, self.recent, self._find_picture = segments, recent, find_picture
        self.num_recent, self._recent_live, self._recent = len(recent), recent.is_live, recent.views()
        starts = np.cumsum([0, *(len(segment) for segment, _ in segments)]).tolist()
        self._starts, self.first_recent = starts[:-1], starts[-1]
        held = {name for segment, _ in segments for name in segment.counts} | set(recent.categories)
        self.categories = all_categories(self.table, held)
        self._categories: dict[tuple[str, bool], CategoryRows] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        dead = sum(len(live) - np.count_nonzero(live) for _, live in self.segments if live is not None)
        return self.first_recent - int(dead) + int(np.count_nonzero(self._recent_live))

    def category(self, name: str, *, mirror: bool = False) -> "CategoryRows":
        """The foregrounds of one category, each once.

        Args:
          name: of the table, or of a category without patterns that the gallery holds.
          mirror: whether those that the gallery holds mirrored come once more so.

        Raises:
          InputError: an unknown name, or no mirrored cut-outs in this gallery.
        """
        if name not in self.categories:
            raise InputError(f"category: unknown {name!r}, expected one of {', '.join(self.categories)}")
        if mirror and not self.has_mirrored:
            raise InputError(
                f"{self.path}: holds no mirrored cut-outs, expected a gallery that was built with --mirror"
            )
        with self._lock:
            if (name, mirror) not in self._categories:
                self._categories[name, mirror] = self._open(name, mirror)
            return self._categories[name, mirror]

    def _open(self, name: str, mirror: bool) -> "CategoryRows":
        return CategoryRows(self, name, mirror=mirror)

    def parts(self, name: str, *, mirrored: bool) -> list[tuple[VectorsOf, int, np.ndarray | None]]:
        """Of a category, what is searched one by one: the foregrounds, their first row's number, and which are live."""
        found: list[tuple[VectorsOf, int, np.ndarray | None]] = []
        for start, (segment, live) in zip(self._starts, self.segments, strict=True):
            of = segment.category(name, mirrored=mirrored)
            if of is not None:
                rows = of.rows if mirrored else slice(of.rows.start, of.rows.stop)
                found.append((of, start, None if live is None else live[rows]))
        if of := self._recent.get((name, mirrored)):
            found.append((of, self.first_recent, self._recent_live[of.rows]))
        return found

    def row_of(self, identifier: str) -> int:
        """Row of a foreground's id; `InputError` where there is none."""
        for row in self.recent.find(identifier, self.num_recent):
            if self._recent_live[row]:
                return self.first_recent + row
        for start, (segment, live) in zip(self._starts, self.segments, strict=True):
            found = segment.find(identifier)
            if found is not None and (live is None or live[found]):
                return start + found
        raise InputError(f"id: no foreground {identifier!r} in {self.path}")

    def locate(self, row: int) -> tuple[Segment | None, int]:
        """The segment of a row and the row in it; None and a place in `recent` for a recent one."""
        if row >= self.first_recent:
            return None, row - self.first_recent
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self.segments[number][0], row - self._starts[number]

    def value(self, name: str, row: int) -> Any:
        """A value of the metadata of a row (`foregrounds.SCHEMA`, or "category")."""
        segment, own = self.locate(row)
        if segment is not None:
            return segment.category_of(own) if name == "category" else segment.columns.value(name, own)
        category, place = self.recent.places[own]
        return category if name == "category" else self._recent[category, False].columns.value(name, place)

    def column(self, name: str, rows: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """Values of some rows, by default of all live ones in order; one by one, for reports and small galleries."""
        rows = self.live_rows if rows is None else rows
        values = np.empty(len(rows), object)
        values[:] = [self.value(name, int(row)) for row in rows]
        is_number = name in SCHEMA.names and pa.types.is_primitive(SCHEMA.field(name).type)
        if not is_number:
            return values
        return values.astype(pa.nulls(0, SCHEMA.field(name).type).to_numpy(zero_copy_only=False).dtype)

    @property
    def live_rows(self) -> np.ndarray:
        """int64: the rows that are there, in order."""
        masks = [np.ones(len(segment), bool) if live is None else live for segment, live in self.segments]
        return np.flatnonzero(np.concatenate([*masks, self._recent_live]))

    def embeddings(self, rows: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """float32 [m, D] of some rows, by default of all live ones in order; one by one."""
        found = []
        for row in self.live_rows if rows is None else rows:
            category = self.category(self.value("category", int(row)))
            found.append(category.embeddings[category.place_of(int(row))])
        return np.array(found, np.float32).reshape(len(found), self.layout.embedding_size)

    def thumbnail(self, row: int) -> Image.Image:
        """RGBA picture of the foreground, its visible part at thumbnail size."""
        return Image.fromarray(read_cutout(self.picture(row, "thumbnail")))

    def cutout(self, row: int) -> np.ndarray:
        """uint8 [h, w, 4] at full resolution; `InputError` where the file that the gallery refers to is gone."""
        path = self.value("path", row)
        return read_cutout(path if path else self.picture(row, "cutout"))

    def picture(self, row: int, blob: str) -> bytes:
        """PNG file of a row, "thumbnail" or "cutout"; the latter is empty where `path` names a file."""
        assert blob in BLOBS
        segment, own = self.locate(row)
        return self._find_picture(self, own, blob) if segment is None else segment.picture(own, blob)


class CategoryRows:
    """The foregrounds of one category and their vectors; a place is a number among them, removed ones counted too.

    Attributes:
      gallery, name: the snapshot that they are of, and the category.
      parts: what is searched one by one. starts: the first place of each.
      patterns: int64 [p], ids of the category's patterns; none where none are known.
      is_live: bool [n]. is_mirrored: bool [n], whether each is shown mirrored.
      rows: int64 [n], their rows in the snapshot.
      assigned: int [n], most probable pattern, -1 where there is none. confidence: float32 [n], its probability.
      embeddings: float32 [n, D]. posteriors, log_posteriors: float32 [n, p].
      experts: name -> float32 [n, size of the expert].
    """

    def __init__(self, gallery: Snapshot, name: str, *, mirror: bool = False):
        self.gallery, self.name, self.patterns = gallery, name, gallery.layout.patterns(name)
        found = [part for mirrored in (False, True)[: 1 + mirror] for part in gallery.parts(name, mirrored=mirrored)]
        self.parts, self._first = [of for of, _, _ in found], [first for _, first, _ in found]
        self._live = [None if live is None or live.all() else live for _, _, live in found]
        self.starts = np.cumsum([0, *map(len, self.parts)]).tolist()
        self._representatives: dict[tuple[int, int, bytes], tuple[np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        return sum(
            len(of) if m is None else int(np.count_nonzero(m)) for of, m in zip(self.parts, self._live, strict=True)
        )

    @property
    def num_places(self) -> int:
        """Foregrounds that are there, and removed ones."""
        return self.starts[-1]

    @functools.cached_property
    def is_live(self) -> np.ndarray:
        """See the class."""
        masks = zip(self.parts, self._live, strict=True)
        return np.concatenate([np.zeros(0, bool), *(np.ones(len(p), bool) if m is None else m for p, m in masks)])

    @property
    def has_removed(self) -> bool:
        """Whether some of them are removed."""
        return any(mask is not None for mask in self._live)

    @functools.cached_property
    def is_mirrored(self) -> np.ndarray:
        """See the class."""
        return np.concatenate([np.zeros(0, bool), *(np.full(len(of), of.is_mirrored) for of in self.parts)])

    @property
    def has_mirrored(self) -> bool:
        """Whether some are offered mirrored too."""
        return any(of.is_mirrored for of in self.parts)

    @functools.cached_property
    def rows(self) -> Stacked:
        """See the class."""
        shifted = [of.rows + first if first else of.rows for of, first in zip(self.parts, self._first, strict=True)]
        return Stacked(shifted, change=lambda rows: np.asarray(rows, np.int64))

    @functools.cached_property
    def assigned(self) -> Stacked:
        """See the class."""
        return Stacked([of.assigned for of in self.parts])

    @functools.cached_property
    def confidence(self) -> Stacked:
        """See the class."""
        return Stacked([of.confidence for of in self.parts])

    @functools.cached_property
    def embeddings(self) -> Stacked:
        """See the class."""
        return self.vectors("cosine")

    @functools.cached_property
    def posteriors(self) -> Stacked:
        """See the class."""
        return Stacked([of.vectors[:, : len(self.patterns)] for of in self.parts], (len(self.patterns),))

    @functools.cached_property
    def log_posteriors(self) -> Stacked:
        """See the class."""
        own = [of.vectors[:, : len(self.patterns)] for of in self.parts]
        return Stacked(own, (len(self.patterns),), lambda values: np.log(np.maximum(values, _LEAST)))

    @functools.cached_property
    def experts(self) -> dict[str, Stacked]:
        """See the class."""
        layout, start, found = self.gallery.layout, len(self.patterns), dict[str, Stacked]()
        for name, size in layout.expert_sizes.items():
            own, scale = [of.vectors[:, start : start + size] for of in self.parts], layout.scale(name)
            found[name] = Stacked(own, (size,), functools.partial(np.multiply, np.float32(1) / scale))
            start += size
        return found

    def vectors(self, ranking: RankBy) -> Stacked:
        """float32 [n, d]: what a query's vector (`query_vector`) is multiplied with; see `foregrounds.Layout`.

        Raises:
          InputError: an unknown ranking.
        """
        size = self._size(ranking)
        return Stacked([of.by_ranking(ranking) for of in self.parts], (size,))

    def _size(self, ranking: RankBy) -> int:
        if ranking not in RANKINGS:
            raise InputError(f"ranking: unknown {ranking!r}, expected posterior or cosine")
        layout = self.gallery.layout
        return layout.embedding_size if ranking == "cosine" else layout.vector_size(self.name)

    def query_vector(self, query: Query, ranking: RankBy) -> np.ndarray:
        """float32 [d]: what `vectors` is multiplied with; see `foregrounds.Layout.query_vector`."""
        self._size(ranking)  # refuses unknown names
        return self.gallery.layout.query_vector(query, ranking)

    def search(
        self,
        vector: np.ndarray,
        ranking: RankBy,
        k: int,
        *,
        allowed: np.ndarray | None = None,
        pattern: int | None = None,
        is_exact: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k live places of highest inner product, highest first: float32 scores and int64 places; fewer if fewer.

        Args:
          vector: float32 [d], as `query_vector` makes it.
          ranking: which vectors it is multiplied with.
          k: how many.
          allowed: bool [n], only these.
          pattern: only those that are assigned to it, -1 to none; every product is computed.
          is_exact: whether every product is computed without a pattern too.

        Raises:
          InputError: an unknown ranking, or a vector of another size or with numbers that are not finite.
        """
        size = self._size(ranking)
        if vector.shape != (size,) or not np.isfinite(vector).all():
            raise InputError(f"query vector: {vector.dtype} {list(vector.shape)}, expected {size} finite numbers")
        scores, places = [np.zeros(0, np.float32)], [np.zeros(0, np.int64)]
        for number, (of, live) in enumerate(zip(self.parts, self._live, strict=True)):
            start, mask = self.starts[number], live
            if allowed is not None:
                mask = allowed[start : start + len(of)]
                mask = mask if live is None else mask & live
            asked, most = np.ascontiguousarray(vector[None], np.float32), min(k, max(len(of), 1))
            if is_exact or pattern is not None:
                among = of.of_pattern(pattern) if pattern is not None else None
                if among is not None and mask is not None:
                    among, mask = among[mask[among]], None
                exact = ExactIndex(of.by_ranking(ranking), is_checked=True)
                answers = exact.search(asked, most, allowed=mask, among=among, is_checked=True)
            else:
                answers = of.indexes[ranking].search(asked, most, allowed=mask, is_checked=True)
            found, own = answers[0][0], answers[1][0]
            scores.append(found[own >= 0])
            places.append(own[own >= 0] + start)
        all_scores, all_places = np.concatenate(scores), np.concatenate(places)
        order = np.lexsort((all_places, -all_scores))[:k]
        return all_scores[order], all_places[order]

    def representatives(self, pattern: int, prototype: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """`search` for those of a pattern nearest to its prototype; remembered, being the same for all queries."""
        key = pattern, k, prototype.tobytes()
        if key not in self._representatives:
            self._representatives[key] = self.search(prototype, "cosine", k, pattern=pattern)
        return self._representatives[key]

    def count(self, allowed: np.ndarray | None, pattern: int | None = None) -> int:
        """How many foregrounds `search` chooses from, one that comes mirrored too counted once."""
        if pattern is None:
            places = np.flatnonzero(self.is_live if allowed is None else allowed & self.is_live)
        else:
            own = [of.of_pattern(pattern) + start for of, start in zip(self.parts, self.starts, strict=False)]
            places = np.concatenate([np.zeros(0, np.int64), *own])
            for mask in (allowed, self.is_live if self.has_removed else None):
                places = places if mask is None else places[mask[places]]
        return len(np.unique(self.rows[places])) if self.has_mirrored else len(places)

    def locate(self, place: int) -> tuple[VectorsOf, int]:
        """The part that a place is in, and the place there."""
        number = bisect.bisect_right(self.starts, place) - 1
        return self.parts[number], place - self.starts[number]

    def split(self, places: np.ndarray) -> Iterator[tuple[VectorsOf, np.ndarray, np.ndarray]]:
        """By part: the part, int64 [m] of the places that are in it, counted there, and where in `places` these are."""
        of = np.searchsorted(self.starts, places, side="right") - 1
        for number in sorted(set(of.tolist())):
            at = np.flatnonzero(of == number)
            yield self.parts[number], places[at] - self.starts[number], at

    def place_of(self, row: int) -> int:
        """Place of a snapshot's row, as it is, not mirrored."""
        for of, first, start in zip(self.parts, self._first, self.starts, strict=False):
            rows = np.asarray(of.rows[:])
            at = int(np.searchsorted(rows, row - first))
            if not of.is_mirrored and at < len(rows) and rows[at] == row - first:
                return start + at
        raise InputError(f"row: {row} is none of {self.name}")

    def score_parts(self, place: int, query: Query) -> dict[str, float]:
        """What each part brings to the score by posterior: "pattern", where the category has any, and each expert."""
        pattern = {"pattern": float(self.posteriors[place] @ query.posterior)} if len(self.patterns) else {}
        cosines = {name: float(self.experts[name][place] @ query.experts[name]) for name in self.gallery.experts}
        return pattern | {name: query.weights[name] * cosine for name, cosine in cosines.items()}
