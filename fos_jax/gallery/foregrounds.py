"""Encoded foregrounds on their way into a gallery: metadata, vectors and pictures of one category."""

import dataclasses
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from fos_jax.errors import InputError
from fos_jax.pattern_table import PatternTable

_LENGTH_TOLERANCE = 1e-2  # of unit vectors and of sums of posteriors
_MIRRORED_SIDE = {"left": "right", "right": "left"}

# One row per foreground; of which category it is, is said beside it.
SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "source_id": pa.string(),  # photograph that it was cut from, "" where unknown
        "licence": pa.string(),  # "" where unknown
        "path": pa.string(),  # file of the cut-out where the gallery refers to it, "" where it holds a copy
        "truncated": pa.string(),  # sides at which its photograph cut it, as `format_sides`; null where unknown
        "tags": pa.list_(pa.string()),
        "width_px": pa.int32(),  # of what is visible of the cut-out
        "height_px": pa.int32(),
        "pattern": pa.int32(),  # most probable one, -1 where the category has none
        "confidence": pa.float32(),  # its probability, 0 where there is none
        "true_pattern": pa.int32(),  # as the source labelled it, -1 where it did not
        "added_s": pa.float64(),  # when it came into the gallery, seconds since 1970 (UTC)
        "version": pa.int64(),  # drawn for each that comes in: tells a replacement from what it replaced
    }
)


class Query(Protocol):
    """What ranking needs of an encoded query; see `retrieval.queries.EncodedQuery`."""

    @property
    def embedding(self) -> np.ndarray: ...
    @property
    def posterior(self) -> np.ndarray: ...
    @property
    def experts(self) -> Mapping[str, np.ndarray]: ...
    @property
    def weights(self) -> Mapping[str, float]: ...


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a gallery's vectors are laid out: what a query's vector is multiplied with.

    A foreground has an embedding, float32 [D], and one vector for the ranking by posterior, float32 [p + sizes of the
    experts]: p(pattern | foreground) of its category's p patterns, and behind them the experts' unit vectors, each
    times the expert's usual weight (times 1 where that is 0), so that an index tells apart what scores tell apart.

    Attributes:
      table: the bundle's patterns. embedding_size: D.
      experts: name -> usual weight. expert_sizes: name -> size of its vectors, in the same order.
    """

    table: PatternTable
    embedding_size: int
    experts: Mapping[str, float]
    expert_sizes: Mapping[str, int]

    def patterns(self, category: str) -> np.ndarray:
        """int64 [p]: ids of the category's patterns; none where none are known."""
        if category not in self.table.categories:
            return np.zeros(0, np.int64)
        return np.flatnonzero(self.table.category_of_pattern == self.table.categories.index(category))

    def vector_size(self, category: str) -> int:
        """Length of the vectors of a category."""
        return len(self.patterns(category)) + sum(self.expert_sizes.values())

    def scale(self, expert: str) -> np.float32:
        """Factor that an expert's vectors carry."""
        return np.float32(self.experts[expert] or 1.0)

    def join(self, posteriors: np.ndarray, experts: Mapping[str, np.ndarray]) -> np.ndarray:
        """float32 [..., p + sizes]: vectors of foregrounds from posteriors [..., p] and the experts' unit vectors."""
        parts = [np.asarray(experts[name], np.float32) * self.scale(name) for name in self.experts]
        return np.concatenate([np.asarray(posteriors, np.float32), *parts], axis=-1)

    def split(self, vectors: np.ndarray, num_patterns: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The reverse of `join`: posteriors and the experts' vectors."""
        start, experts = num_patterns, {}
        for name, size in self.expert_sizes.items():
            experts[name] = vectors[..., start : start + size] / self.scale(name)
            start += size
        return vectors[..., :num_patterns], experts

    def query_vector(self, query: Query, ranking: str) -> np.ndarray:
        """float32 [d]: what embeddings (cosine) or vectors are multiplied with; experts carry the query's weights."""
        if ranking == "cosine":
            return query.embedding
        weights = {name: np.float32(query.weights[name]) / self.scale(name) for name in query.weights}
        parts = [weights[name] * np.asarray(query.experts[name], np.float32) for name in self.experts]
        return np.concatenate([query.posterior, *parts])

    def to_json(self) -> dict[str, Any]:
        """As the manifest keeps it; the table is a file of its own."""
        sizes = {"embedding_size": self.embedding_size}
        return sizes | {"experts": dict(self.experts), "expert_sizes": dict(self.expert_sizes)}


@dataclasses.dataclass(frozen=True)
class Foregrounds:
    """Encoded foregrounds of one category.

    Attributes:
      category: name.
      metadata: table of `SCHEMA`, n rows.
      embeddings: float32 [n, D], unit.
      vectors: float32 [n, size], see `Layout`.
      thumbnails, cutouts: n PNG files each; the cut-out is empty where `path` names its file.
      mirrored: int64 [m], those that are encoded mirrored too.
      mirrored_embeddings, mirrored_vectors: theirs, float32 [m, ...].
    """

    category: str
    metadata: pa.Table
    embeddings: np.ndarray
    vectors: np.ndarray
    thumbnails: Sequence[bytes]
    cutouts: Sequence[bytes]
    mirrored: np.ndarray
    mirrored_embeddings: np.ndarray
    mirrored_vectors: np.ndarray

    def __len__(self) -> int:
        return len(self.metadata)

    @property
    def ids(self) -> list[str]:
        """The ids, in order."""
        return self.metadata["id"].to_pylist()

    def check(self, layout: Layout) -> None:
        """`InputError` naming the first foreground whose vectors are not what a gallery holds.

        Vectors must be of the gallery's sizes and finite, embeddings and experts' vectors of unit length, posteriors
        probabilities that sum to one; ids are not empty and come once.
        """
        ids, n = self.ids, len(self)
        if not all(ids):
            raise InputError(f"id: foreground {[bool(identifier) for identifier in ids].index(False)} has none")
        if len(set(ids)) != n:
            raise InputError(f"{next(i for i in ids if ids.count(i) > 1)}: this id comes twice")
        if not len(self.thumbnails) == len(self.cutouts) == n:
            raise InputError(f"pictures: {len(self.thumbnails)} and {len(self.cutouts)}, expected {n} of each")
        sizes = {"embedding": layout.embedding_size, "vector": layout.vector_size(self.category)}
        own = np.asarray(ids, object)
        self._check(own, self.embeddings, self.vectors, sizes, layout)
        self._check(own[self.mirrored], self.mirrored_embeddings, self.mirrored_vectors, sizes, layout)

    def _check(
        self, ids: np.ndarray, embeddings: np.ndarray, vectors: np.ndarray, sizes: Mapping[str, int], layout: Layout
    ) -> None:
        for (name, size), values in zip(sizes.items(), (embeddings, vectors), strict=True):
            if values.shape != (len(ids), size) or values.dtype != np.float32:
                got = f"{values.dtype} {list(values.shape)}"
                raise InputError(f"{self.category}: {name}s are {got}, expected float32 [{len(ids)}, {size}]")
            bad = ~np.isfinite(values).all(axis=1)
            if bad.any():
                raise InputError(f"{ids[bad][0]}: its {name} is not finite")
        posteriors, experts = layout.split(vectors, sizes["vector"] - sum(layout.expert_sizes.values()))
        for name, values in {"embedding": embeddings, **experts}.items():
            length = np.linalg.norm(values, axis=1)
            bad = np.abs(length - 1) > _LENGTH_TOLERANCE
            if bad.any():
                raise InputError(f"{ids[bad][0]}: its {name} vector has length {length[bad][0]:.3g}, expected 1")
        if posteriors.shape[1]:
            total = posteriors.sum(axis=1)
            bad = (posteriors < 0).any(axis=1) | (np.abs(total - 1) > _LENGTH_TOLERANCE)
            if bad.any():
                raise InputError(f"{ids[bad][0]}: its posterior sums to {total[bad][0]:.3g}, expected probabilities")


def make_foregrounds(
    category: str,
    ids: Sequence[str],
    embeddings: np.ndarray,
    posteriors: np.ndarray,
    *,
    layout: Layout,
    experts: Mapping[str, np.ndarray] | None = None,
    thumbnails: Sequence[bytes] | None = None,
    cutouts: Sequence[bytes] | None = None,
    mirrored: np.ndarray | None = None,
    mirrored_embeddings: np.ndarray | None = None,
    mirrored_vectors: np.ndarray | None = None,
    **metadata: Sequence[Any],
) -> Foregrounds:
    """`Foregrounds` from arrays.

    Args:
      category, ids, thumbnails, cutouts: see `Foregrounds`; without pictures they are empty.
      embeddings: float32 [n, D], unit.
      posteriors: float32 [n, p], p(pattern | foreground); p is 0 where the category has no patterns.
      experts: name -> float32 [n, size], unit.
      mirrored, mirrored_embeddings, mirrored_vectors: see `Foregrounds`; none by default.
      metadata: other columns of `SCHEMA`, n values each, instead of what stands for "unknown".
    """
    n, patterns = len(ids), layout.patterns(category)
    if posteriors.shape != (n, len(patterns)):
        raise InputError(f"{category}: posteriors {list(posteriors.shape)}, expected [{n}, {len(patterns)}]")
    best = posteriors.argmax(axis=1) if len(patterns) else np.zeros(n, np.int64)
    columns: dict[str, Any] = {
        "id": ids,
        **dict.fromkeys(("source_id", "licence", "path"), [""] * n),
        "truncated": [None] * n,
        "tags": [[]] * n,
        **dict.fromkeys(("width_px", "height_px"), np.ones(n, np.int32)),
        "pattern": patterns[best].astype(np.int32) if len(patterns) else np.full(n, -1, np.int32),
        "confidence": posteriors[np.arange(n), best] if len(patterns) else np.zeros(n, np.float32),
        "true_pattern": np.full(n, -1, np.int32),
        "added_s": np.full(n, time.time()),
        "version": np.random.default_rng().integers(1 << 62, size=n),
        **metadata,
    }
    table = pa.table([pa.array(columns[name], SCHEMA.field(name).type) for name in SCHEMA.names], SCHEMA)
    vectors = layout.join(posteriors, experts or {})
    return Foregrounds(
        category,
        table,
        np.ascontiguousarray(embeddings, np.float32),
        vectors,
        [b""] * n if thumbnails is None else thumbnails,
        [b""] * n if cutouts is None else cutouts,
        np.zeros(0, np.int64) if mirrored is None else mirrored,
        embeddings[:0] if mirrored_embeddings is None else mirrored_embeddings,
        vectors[:0] if mirrored_vectors is None else mirrored_vectors,
    )


class KnowsCategories(Protocol):
    """What `class_id` needs of a bundle."""

    table: PatternTable

    @property
    def accepts_any_category(self) -> bool: ...


def class_id(category: str, bundle: KnowsCategories) -> int:
    """Class id of a category, -1 where the table lacks it and the bundle accepts any; else `InputError`."""
    if bundle.accepts_any_category and category not in bundle.table.categories:
        return -1
    return bundle.table.category_id(category)


def all_categories(table: PatternTable, names: Collection[str]) -> tuple[str, ...]:
    """The table's categories in its order, then the others among `names`, which have no patterns, sorted."""
    return (*table.categories, *sorted(set(names) - set(table.categories)))


def format_sides(sides: Collection[str] | None) -> str | None:
    """Truncated sides as a gallery stores them: "left,bottom", "" for none, None where unknown."""
    return None if sides is None else ",".join(sides)


def parse_sides(text: str | None, is_mirrored: bool = False) -> tuple[str, ...] | None:
    """The reverse of `format_sides`, left and right swapped where the cut-out is mirrored."""
    if text is None:
        return None
    sides = tuple(filter(None, text.split(",")))
    return mirrored_sides(sides) if is_mirrored else sides


def mirrored_sides(sides: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Truncated sides after a left-right flip."""
    return None if sides is None else tuple(_MIRRORED_SIDE.get(side, side) for side in sides)
