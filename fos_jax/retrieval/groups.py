"""Answers at the level of patterns: the most probable ones, or a few places shared out over all that may fit."""

import itertools
from collections.abc import Sequence

import numpy as np

from fos_jax.retrieval.filters import Filters
from fos_jax.retrieval.gallery import CategoryRows, Gallery, Ranking
from fos_jax.retrieval.hits import Hit, PatternGroup, make_hits
from fos_jax.retrieval.index import ExactIndex, top_k
from fos_jax.retrieval.overview import choose
from fos_jax.retrieval.queries import EncodedQuery


def rank_members(
    gallery: Gallery,
    rows: CategoryRows,
    members: np.ndarray,
    ranking: Ranking,
    vector: np.ndarray,
    k: int,
    query: EncodedQuery | None,
) -> list[Hit]:
    """Exact ranking of some rows of a category (places within it) by the inner product with a vector."""
    scores = rows.vectors(ranking)[members] @ vector
    best, order = top_k(scores[None], min(k, max(1, len(members))))
    local = np.where(order[0] >= 0, members[order[0]] if len(members) else -1, -1)
    return make_hits(gallery, gallery_rows(rows, local), best[0], ranking, query)


def gallery_rows(rows: CategoryRows, local: np.ndarray) -> np.ndarray:
    """Gallery rows of places within a category; -1 stays."""
    return np.where(local >= 0, local + (int(rows.rows[0]) if len(rows) else 0), -1)


def probable_groups(
    gallery: Gallery,
    prototypes: np.ndarray,
    query: EncodedQuery,
    *,
    k: int,
    instances: int,
    representatives: int,
    ranking: Ranking,
    filters: Filters,
) -> list[PatternGroup]:
    """The k most probable patterns of which the gallery has foregrounds, each with its best instances.

    Args:
      gallery: where to look. prototypes: float32 [P, D], the bundle's.
      query: encoded.
      Others: as `ForegroundSearch.patterns`.
    """
    rows = gallery.category(query.category)
    allowed = filters.allowed(gallery.metadata, rows.rows, query.box_xyxy_px)
    vector = query.posterior if ranking == "posterior" else query.embedding
    members_of = ((i, np.flatnonzero(allowed & (rows.assigned == rows.patterns[i]))) for i in _by_probability(query))
    groups = []
    for local, members in itertools.islice(((i, found) for i, found in members_of if len(found)), k):
        hits = rank_members(gallery, rows, members, ranking, vector, instances, query)
        groups.append(_group(gallery, prototypes, query, local, members, representatives, hits))
    return groups


def overview_groups(
    gallery: Gallery,
    prototypes: np.ndarray,
    query: EncodedQuery,
    *,
    total: int,
    coverage_weight: float,
    representatives: int,
    filters: Filters,
) -> list[PatternGroup]:
    """`overview.choose` on a gallery, the chosen grouped by the pattern they are assigned to, most probable first.

    Args:
      gallery, prototypes, query: as `probable_groups`.
      Others: as `ForegroundSearch.overview`.
    """
    rows = gallery.category(query.category)
    places = np.flatnonzero(filters.allowed(gallery.metadata, rows.rows, query.box_xyxy_px))
    is_whole = len(places) == len(rows)
    # ScaNN has no allow-lists: what is restricted is searched exactly.
    index = rows.index("posterior") if is_whole else ExactIndex(rows.posteriors[places])

    def find(vector: np.ndarray, k: int) -> np.ndarray:
        return index.search(vector[None], k)[1][0]

    found = choose(find, rows.posteriors[places], query.posterior, total, coverage_weight=coverage_weight)
    chosen = places[np.array(found, np.int64)]
    groups = []
    for local in _by_probability(query):
        is_of_pattern = rows.assigned == rows.patterns[local]
        own, members = chosen[is_of_pattern[chosen]], np.intersect1d(places, np.flatnonzero(is_of_pattern))
        if len(own):
            hits = rank_members(gallery, rows, own, "posterior", query.posterior, len(own), query)
            groups.append(_group(gallery, prototypes, query, local, members, representatives, hits))
    return groups


def _by_probability(query: EncodedQuery) -> list[int]:
    """The category's patterns, counted inside it, most probable first."""
    return np.argsort(-query.posterior, kind="stable").tolist()


def _group(
    gallery: Gallery,
    prototypes: np.ndarray,
    query: EncodedQuery,
    local: int,
    members: np.ndarray,
    representatives: int,
    hits: Sequence[Hit],
) -> PatternGroup:
    """The group of the category's pattern number `local`, which these members of the category are assigned to."""
    rows = gallery.category(query.category)
    pattern = gallery.table.patterns[int(rows.patterns[local])]
    prototype = np.asarray(prototypes[pattern.id], np.float32)
    prototype = prototype / max(float(np.linalg.norm(prototype)), 1e-12)
    return PatternGroup(
        id=pattern.id,
        category=pattern.category,
        description=pattern.description,
        attributes=pattern.attributes,
        probability=float(query.posterior[local]),
        size=len(members),
        representatives=rank_members(gallery, rows, members, "cosine", prototype, representatives, query),
        hits=hits,
    )
