"""Pairs of a foreground and a query: a score for one, and of many queries those that a foreground fits."""

import dataclasses
import heapq
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any, NamedTuple

import numpy as np

from fos_jax.errors import InputError
from fos_jax.explain.reasons import Explanation, explain
from fos_jax.gallery.foregrounds import class_id
from fos_jax.gallery.snapshot import CategoryRows, Snapshot
from fos_jax.images import ImageSource, read_cutout, visible_box_xyxy_px
from fos_jax.retrieval.hits import PairScore
from fos_jax.retrieval.opened import OpenedGallery, check_count
from fos_jax.retrieval.queries import BATCH_SIZE, EncodedQuery, SearchQuery, encode_prepared, prepare_query
from fos_jax.retrieval.rules import NO_FILTERS, rectangle_phrase

_BLOCK = 65_536  # foregrounds whose scores are held at once


@dataclasses.dataclass(frozen=True)
class ReverseHit:
    """One of many queries, and how well a foreground fits it.

    Attributes:
      query: its place among the queries, from 0.
      rank: from 0.
      score: as a hit's by posterior; higher fits better.
      percentile: share of the gallery's foregrounds of the category that score lower for this query, in 0..1: 1 where
        the gallery has nothing better for it; nan where there are none.
      pattern: the one that carries most of the score, -1 where the category has none.
      parts: see `Explanation.parts`.
      why: as a hit's.
    """

    query: int
    rank: int
    score: float
    percentile: float
    pattern: int
    parts: Mapping[str, float]
    why: str

    def to_json(self) -> dict[str, Any]:
        """What can be written as JSON; a percentile of nan is None."""
        percentile = None if np.isnan(self.percentile) else self.percentile
        return dataclasses.asdict(self) | {"percentile": percentile, "parts": dict(self.parts)}


class _Foreground(NamedTuple):
    """Encoding of a foreground; see `EncodedQuery`."""

    category: str
    embedding: np.ndarray
    log_posterior: np.ndarray
    experts: Mapping[str, np.ndarray]

    def explain(self, query: EncodedQuery, rows: CategoryRows) -> Explanation:
        """Its score for a query, taken apart."""
        cosines = {name: float(self.experts[name] @ query.experts[name]) for name in rows.gallery.experts}
        return explain(
            query.log_posterior,
            self.log_posterior,
            rows.gallery.table,
            patterns=rows.patterns,
            category=self.category,
            experts={name: query.weights[name] * cosine for name, cosine in cosines.items()},
            notes={"geometry": rectangle_phrase(query.place)},
        )


class _Scored(NamedTuple):
    """A query of many, by its place, and the score and percentile of a foreground for it."""

    number: int
    score: float
    percentile: float
    query: EncodedQuery


class Pairs(OpenedGallery):
    """Searches that begin with a foreground."""

    def score(
        self,
        photo: ImageSource,
        box: Sequence[float],
        category: str,
        cutout: ImageSource,
        *,
        truncated: tuple[str, ...] | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> PairScore:
        """How well a given cut-out, which need not be in the gallery, fits a query.

        Args:
          photo, box, category, weights: as `instances`.
          cutout: RGBA picture as path, encoded bytes, PIL image or uint8 array.
          truncated: sides at which its photograph cut it, of `boxes.SIDES`; None where unknown.

        Raises:
          InputError: an unusable photograph, rectangle or cut-out, or an unknown category.
        """
        query = self._encode(photo, box, category, weights)
        own, rows = self._encode_cutout(cutout, category, truncated), self.gallery.category(category)
        reason = own.explain(query, rows)
        return PairScore(
            score=reason.score,
            posterior=reason.parts.get("pattern", 0.0),
            cosine=float(own.embedding @ query.embedding),
            percentile=float(_percentiles(rows, rows.query_vector(query, "posterior")[None], reason.score)[0]),
            pattern=int(rows.patterns[own.log_posterior.argmax()]) if len(rows.patterns) else -1,
            parts=reason.parts,
            why=reason.text,
        )

    def reverse(
        self,
        foreground: str | ImageSource,
        queries: Iterable[SearchQuery | tuple[ImageSource, Sequence[float]]],
        *,
        k: int | None = None,
        category: str | None = None,
        truncated: tuple[str, ...] | None = None,
        weights: Mapping[str, float] | None = None,
        names: Sequence[str] | None = None,
        progress: bool = False,
    ) -> list[ReverseHit]:
        """Reverse search: of many photographs and rectangles those that a foreground fits best, best first.

        They are ordered by score, which is higher too where the query is surer; the percentile tells what the gallery
        has for it. They are read and encoded in batches, and no photograph is kept.

        Args:
          foreground: a str is the id of one of the gallery; a cut-out is a Path, encoded bytes, a PIL image or a uint8
            array [h, w, 4].
          queries: as `instances`, or (photo, box).
          k: how many to give; None for all.
          category: of a cut-out; of a foreground of the gallery it is known.
          truncated: of a cut-out, as `score`.
          weights: as `instances`.
          names: what messages call the queries; their places by default.
          progress: whether to show a progress bar.

        Raises:
          InputError: an unknown id or category, an unusable cut-out, k below 1, or a query that is unusable or of
            another category, which is named.
        """
        if k is not None:
            check_count("k", k)
        own = self._foreground(foreground, category, truncated)
        rows = self.gallery.category(own.category)
        scored = self._scored(own, rows, queries, weights, names, progress)
        found = sorted(scored, key=_order) if k is None else heapq.nsmallest(k, scored, key=_order)
        hits = []
        for rank, (index, score, percentile, query) in enumerate(found):
            reason = own.explain(query, rows)
            pattern = reason.terms[0].pattern if reason.terms else -1
            hits.append(ReverseHit(index, rank, score, percentile, pattern, reason.parts, reason.text))
        return hits

    def _foreground(
        self, foreground: str | ImageSource, category: str | None, truncated: tuple[str, ...] | None
    ) -> _Foreground:
        """A foreground of the gallery by its id, or a cut-out."""
        if not isinstance(foreground, str):
            if category is None:
                raise InputError("category: none given, expected the cut-out's")
            return self._encode_cutout(foreground, category, truncated)

        def find(state: Snapshot) -> _Foreground:
            row = state.row_of(foreground)
            rows = state.category(state.value("category", row))
            place = rows.place_of(row)
            experts = {name: vectors[place] for name, vectors in rows.experts.items()}
            return _Foreground(rows.name, rows.embeddings[place], rows.log_posteriors[place], experts)

        own = self._look(find, None, NO_FILTERS, None, ids=[foreground])
        if category not in (None, own.category):
            raise InputError(f"category: got {category!r}, foreground {foreground} is of {own.category!r}")
        return own

    def _encode_cutout(self, cutout: ImageSource, category: str, truncated: tuple[str, ...] | None) -> _Foreground:
        number = np.array([class_id(category, self.bundle)], np.int32)
        rgba = read_cutout(cutout)
        x0, y0, x1, y1 = visible_box_xyxy_px(rgba)
        inputs = self.bundle.foreground_inputs(rgba[y0:y1, x0:x1], truncated)
        encoding = self.bundle.encode_foregrounds(*(value[None] for value in inputs), number, batch_size=1)
        experts = {name: np.asarray(encoding.experts[name], np.float32)[0] for name in self.gallery.experts}
        log_posterior = np.asarray(encoding.log_posterior, np.float32)[0, self.gallery.layout.patterns(category)]
        return _Foreground(category, np.asarray(encoding.embedding, np.float32)[0], log_posterior, experts)

    def _scored(
        self,
        own: _Foreground,
        rows: CategoryRows,
        queries: Iterable[SearchQuery | tuple[ImageSource, Sequence[float]]],
        weights: Mapping[str, float] | None,
        names: Sequence[str] | None,
        progress: bool,
    ) -> Iterator[_Scored]:
        """Each query with the foreground's score for it, in order."""
        from tqdm import tqdm

        vector = self.gallery.layout.join(np.exp(own.log_posterior), own.experts)
        total = len(queries) if isinstance(queries, Sized) else None
        numbered = enumerate(tqdm(queries, desc="queries", unit="", total=total, disable=not progress))
        while batch := list(itertools.islice(numbered, BATCH_SIZE)):
            prepared = []
            for index, query in batch:
                try:
                    asked = query if isinstance(query, SearchQuery) else SearchQuery(query[0], query[1], own.category)
                    if asked.category != own.category:
                        raise InputError(f"category: got {asked.category!r}, the foreground is of {own.category!r}")
                    prepared.append(prepare_query(asked, self.bundle, keep_photo=False))
                except InputError as error:
                    raise InputError(f"{names[index] if names else f'query {index}'}: {error}") from None
            encoded = encode_prepared(prepared, self.bundle, weights=weights)
            vectors = np.stack([rows.query_vector(query, "posterior") for query in encoded])  # [b, d]
            scores = vectors @ vector
            percentiles = _percentiles(rows, vectors, scores)
            numbers = (index for index, _ in batch)
            yield from map(_Scored, numbers, scores.tolist(), percentiles.tolist(), encoded)


def _order(scored: _Scored) -> tuple[float, int]:
    return -scored.score, scored.number


def _percentiles(rows: CategoryRows, vectors: np.ndarray, scores: np.ndarray | float) -> np.ndarray:
    """float64 [q]: share of the live foregrounds that score below float [q] for vectors [q, d]; nan without any."""
    lower, held = np.zeros(len(vectors), np.int64), rows.vectors("posterior")
    for start in range(0, rows.num_places, _BLOCK):
        block = np.flatnonzero(rows.is_live[start : start + _BLOCK]) + start
        lower += (held[block] @ vectors.T < scores).sum(axis=0)
    return lower / len(rows) if len(rows) else np.full(len(vectors), np.nan)
