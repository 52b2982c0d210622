"""Diverse lists: places shared out over patterns, then foregrounds that look unlike those already shown."""

from collections import Counter

import numpy as np

from fos_jax.errors import InputError
from fos_jax.gallery.snapshot import CategoryRows, RankBy
from fos_jax.retrieval.groups import COVERAGE_WEIGHT, share_places
from fos_jax.retrieval.hits import Hit, make_hits, num_places
from fos_jax.retrieval.queries import EncodedQuery

_POOL = 4  # candidates per place


def check_diversity(diversity: float) -> None:
    """`InputError` unless it is in 0..1."""
    if not 0 <= diversity <= 1:
        raise InputError(f"diversity: got {diversity!r}, expected a number from 0 to 1")


def diverse_hits(
    rows: CategoryRows,
    query: EncodedQuery,
    ranking: RankBy,
    k: int,
    diversity: float,
    *,
    allowed: np.ndarray | None,
    pattern: int | None,
) -> list[Hit]:
    """The k foregrounds of a diverse list in the order of their choice, the best first; fewer where there are fewer.

    Patterns come first: the places are shared out over them as an overview does, the less probable ones weighing more
    as `diversity` grows. Each pattern's places are then filled from its best foregrounds by `mmr` on what the expert of
    appearance sees, or on embeddings where there is none.

    Args:
      rows: where to look. query, ranking, k, diversity: as `ForegroundSearch.instances`.
      allowed, pattern: as `CategoryRows.search`.

    Source: decision 27; the order within patterns after Carbonell & Goldstein, "The use of MMR, diversity-based
    reranking for reordering documents and producing summaries", SIGIR 1998.
    """
    vector, quota = rows.query_vector(query, ranking), Counter[int | None]({pattern: k})
    if pattern is None and len(rows.patterns):
        shared = share_places(rows, query, k, 2 * diversity * COVERAGE_WEIGHT, allowed)
        quota = Counter(rows.assigned[shared].tolist())
    wanted = [(number, _POOL * own) for number, own in quota.items()] + [(pattern, k)]  # the last fills what is left
    lists = [rows.search(vector, ranking, num_places(rows, n), allowed=allowed, pattern=number) for number, n in wanted]
    scores, places = map(np.concatenate, zip(*lists, strict=True))
    first = np.unique(places, return_index=True)[1]
    first = first[np.lexsort((places[first], -scores[first]))]  # of equals the better one is chosen
    scores, places = scores[first], places[first]
    looks = rows.experts.get("appearance", rows.embeddings)
    groups = rows.assigned[places] if pattern is None and len(rows.patterns) else None
    order = mmr(scores, looks[places], rows.rows[places], k, diversity, groups=groups, quota=quota)
    return make_hits(rows, places[order], scores[order], ranking, k, query)


def mmr(
    relevance: np.ndarray,
    looks: np.ndarray,
    identity: np.ndarray,
    k: int,
    diversity: float,
    *,
    groups: np.ndarray | None = None,
    quota: Counter | None = None,
) -> list[int]:
    """Maximal marginal relevance: what to show, chosen one by one for its relevance and against what is like it.

    The first is the most relevant one; each other has the highest (1 - diversity) relevance - diversity x (highest
    cosine with what is chosen already).

    Args:
      relevance: float [n]. looks: float [n, d], unit. identity: int [n]; of those that share a number one is chosen.
      k: how many. diversity: 0 ranks by relevance, 1 by dissimilarity.
      groups: int [n], the group of each. quota: group -> how many of it come before others of it may fill the rest.

    Source: Carbonell & Goldstein, SIGIR 1998.
    """
    chosen, left = list[int](), Counter(quota or {})
    is_free, nearest = np.ones(len(relevance), bool), np.zeros(len(relevance))
    while len(chosen) < k and is_free.any():
        is_open = is_free if groups is None else is_free & np.isin(groups, [g for g, n in left.items() if n > 0])
        worth = (1 - diversity) * relevance - diversity * nearest if chosen else relevance
        best = int(np.where(is_open if is_open.any() else is_free, worth, -np.inf).argmax())
        similarity = looks @ looks[best]
        nearest = np.maximum(nearest, similarity) if chosen else similarity
        is_free &= identity != identity[best]
        chosen.append(best)
        if groups is not None:
            left[groups[best]] -= 1
    return chosen
