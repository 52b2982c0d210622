"""Groups of hits: the patterns that fit a query, each with its foregrounds."""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from fos_jax.errors import InputError
from fos_jax.explain.reasons import no_patterns
from fos_jax.gallery.snapshot import CategoryRows, RankBy, Snapshot
from fos_jax.gallery.stacked import Stacked
from fos_jax.pattern_table import PatternTable
from fos_jax.retrieval.hits import Hit, find_hits, make_hits, num_places
from fos_jax.retrieval.queries import EncodedQuery
from fos_jax.retrieval.rules import Filters

COVERAGE_WEIGHT = 1.0


@dataclasses.dataclass(frozen=True)
class PatternGroup:
    """One pattern that fits a query, with the foregrounds of it.

    A category without patterns is one group of all its foregrounds.

    Attributes:
      id: the pattern's, -1 where the category has none.
      category, description, attributes: the pattern's.
      probability: p(pattern | query); 1 where there is none.
      size: foregrounds of the gallery that are assigned to it (and pass the filters).
      representatives: those nearest to the pattern's prototype (without patterns: to the mean of their embeddings),
        nearest first; their score is that cosine.
      hits: its instances, best for this query first.
    """

    id: int
    category: str
    description: str
    attributes: Mapping[str, str]
    probability: float
    size: int
    representatives: Sequence[Hit]
    hits: Sequence[Hit]

    def to_json(self) -> dict:
        """What can be written as JSON."""
        return {
            **{f.name: getattr(self, f.name) for f in dataclasses.fields(self)},
            "attributes": dict(self.attributes),
            "representatives": [hit.to_json() for hit in self.representatives],
            "hits": [hit.to_json() for hit in self.hits],
        }


def probable_groups(
    gallery: Snapshot,
    prototypes: np.ndarray,
    query: EncodedQuery,
    *,
    k: int,
    instances: int,
    representatives: int,
    ranking: RankBy,
    filters: Filters,
    patterns: Collection[int] | None = None,
) -> list[PatternGroup]:
    """The k most probable patterns of which the gallery has foregrounds, each with its best instances.

    Args:
      gallery: where to look. prototypes: float32 [P, D], the bundle's.
      patterns: ids of those that may come, None for all.
      Others: as `ForegroundSearch.patterns`.
    """
    rows = gallery.category(query.category, mirror=filters.mirror)
    allowed = filters.allowed(rows, query.place)
    vector = rows.query_vector(query, ranking)
    groups = list[PatternGroup]()
    for number in _by_probability(rows, query):
        if len(groups) == k:
            break
        if patterns is not None and number not in patterns:
            continue
        if size := rows.count(allowed, number):
            hits = find_hits(rows, vector, ranking, instances, query, allowed=allowed, pattern=number)
            groups.append(_group(rows, prototypes, query, number, allowed, size, representatives, hits))
    return groups


def overview_groups(
    gallery: Snapshot,
    prototypes: np.ndarray,
    query: EncodedQuery,
    *,
    total: int,
    coverage_weight: float,
    representatives: int,
    filters: Filters,
) -> list[PatternGroup]:
    """`choose` on a gallery, the chosen grouped by the pattern they are assigned to, most probable first.

    Args:
      gallery, prototypes: as `probable_groups`. Others: as `ForegroundSearch.overview`.
    """
    rows = gallery.category(query.category, mirror=filters.mirror)
    allowed = filters.allowed(rows, query.place)
    vector = rows.query_vector(query, "posterior")
    is_chosen = np.zeros(rows.num_places, bool)
    is_chosen[share_places(rows, query, total, coverage_weight, allowed)] = True
    groups = []
    for number in _by_probability(rows, query):
        hits = find_hits(rows, vector, "posterior", total, query, allowed=is_chosen, pattern=number, is_exact=True)
        if hits:
            size = rows.count(allowed, number)
            groups.append(_group(rows, prototypes, query, number, allowed, size, representatives, hits))
    return groups


def share_places(
    rows: CategoryRows, query: EncodedQuery, total: int, coverage_weight: float, allowed: np.ndarray | None
) -> list[int]:
    """`choose` on a category's foregrounds, with what experts add to their scores."""
    of_experts = rows.query_vector(query, "posterior")[len(query.posterior) :]

    def find(of_patterns: np.ndarray, k: int) -> np.ndarray:
        asked = np.concatenate([of_patterns, of_experts])
        return rows.search(asked, "posterior", max(k, num_places(rows, total)), allowed=allowed)[1]

    identity = np.asarray(rows.rows) if rows.has_mirrored else None
    options: Any = {"coverage_weight": coverage_weight, "identity": identity}
    return choose(find, rows.posteriors, query.posterior, total, **options)


def patterns_with(table: PatternTable, category: str, attributes: Mapping[str, str]) -> list[int]:
    """Ids of a category's patterns that have these values of attributes, by name.

    Raises:
      InputError: an attribute that the category's patterns lack, or a value that it cannot have.
    """
    known = table.attributes.get(category, {})
    for name, value in attributes.items():
        if name not in known:
            raise InputError(f"attributes: {category} has no {name!r}, expected {' or '.join(known) or 'none'}")
        if value not in known[name]:
            raise InputError(f"attributes: {name} is {value!r}, expected one of {', '.join(known[name])}")
    wanted = attributes.items()
    return [p.id for p in table.patterns if p.category == category and wanted <= p.attributes.items()]


def _by_probability(rows: CategoryRows, query: EncodedQuery) -> list[int]:
    """Ids of the category's patterns, most probable first; -1 alone where it has none."""
    return rows.patterns[np.argsort(-query.posterior, kind="stable")].tolist() or [-1]


def _group(
    rows: CategoryRows,
    prototypes: np.ndarray,
    query: EncodedQuery,
    number: int,
    allowed: np.ndarray | None,
    size: int,
    representatives: int,
    hits: Sequence[Hit],
) -> PatternGroup:
    """The group of one pattern, which `size` of the foregrounds that may come are assigned to."""
    pattern = rows.gallery.table.patterns[number] if number >= 0 else None
    only = {"allowed": allowed, "pattern": number, "is_exact": pattern is None}  # a mean of what is here finds no more
    if pattern:
        prototype = np.asarray(prototypes[number], np.float32)
    else:
        prototype = rows.embeddings[rows.is_live if allowed is None else allowed].sum(axis=0)
    prototype = prototype / max(float(np.linalg.norm(prototype)), 1e-12)
    if pattern and allowed is None:
        scores, places = rows.representatives(number, prototype, num_places(rows, representatives))
        shown = make_hits(rows, places, scores, "cosine", representatives, query)
    else:
        shown = find_hits(rows, prototype, "cosine", representatives, query, **only)
    return PatternGroup(
        id=number,
        category=rows.name,
        description=pattern.description if pattern else no_patterns(rows.name),
        attributes=pattern.attributes if pattern else {},
        probability=float(query.posterior[rows.patterns == number][0]) if pattern else 1.0,
        size=size,
        representatives=shown,
        hits=hits,
    )


def choose(
    find: Callable[[np.ndarray, int], np.ndarray],
    posteriors: np.ndarray | Stacked,
    query_posterior: np.ndarray,
    total: int,
    *,
    coverage_weight: float = COVERAGE_WEIGHT,
    identity: np.ndarray | None = None,
) -> list[int]:
    """Shares a few places out over the patterns that may fit: foregrounds chosen one by one, each for what it adds.

    A list by score alone shows one pattern many times over while another that fits as well waits behind it. Here a set
    is worth the number of its foregrounds that fit, expected under the posteriors, plus `coverage_weight` for each
    pattern that fits and is shown at all. What a foreground adds to those already chosen is then

        sum over patterns of p(pattern | query) (1 + coverage_weight * unseen(pattern)) p(pattern | foreground),

    with unseen(pattern) the probability that none of the chosen is of it: an inner product, so the index of the
    ranking by posterior finds the next one. Choosing the best addition each time reaches at least 1 - 1/e of the best
    set's worth.

    Args:
      find: (vector float32 [p], k) -> the k rows of highest inner product with it, best first, -1 where there are none.
      posteriors: float32 [n, p], p(pattern | foreground).
      query_posterior: float32 [p], p(pattern | query).
      total: how many; fewer come where there are fewer.
      coverage_weight: worth of a fitting pattern's first appearance, in fitting foregrounds; 0 ranks by score.
      identity: int [n]; of rows that share a number, at most two, one is chosen.

    Source: decision 27, after Agrawal et al., "Diversifying search results", WSDM 2009 (the worth of covering what may
    be meant, greedily) and Santos et al., "Exploiting query reformulations for web search result diversification", WWW
    2010 (mixed with relevance).
    """
    chosen: list[int] = []
    unseen = np.ones_like(query_posterior)
    while len(chosen) < total:
        found = find(query_posterior * (1 + coverage_weight * unseen), (1 if identity is None else 2) * len(chosen) + 1)
        taken = set(chosen) if identity is None else set(np.flatnonzero(np.isin(identity, identity[chosen])))
        new = next((int(row) for row in found if row >= 0 and row not in taken), None)
        if new is None:
            break
        chosen.append(new)
        unseen = unseen * (1 - posteriors[new])
    return chosen
