"""Hits and groups of hits: the foregrounds that were found, why, and the patterns they are of."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fos_jax.errors import InputError
from fos_jax.explain.reasons import Explanation, explain, pattern_reason
from fos_jax.retrieval.gallery import CategoryRows, Gallery, RankBy
from fos_jax.retrieval.index import ExactIndex, top_k
from fos_jax.retrieval.queries import EncodedQuery, Filters

if TYPE_CHECKING:
    from fos_jax.compose import Fit

COVERAGE_WEIGHT = 1.0


@dataclasses.dataclass(frozen=True)
class Hit:
    """One foreground that was found.

    Attributes:
      id: the foreground's.
      rank: from 0.
      score: higher fits better; posterior: sum over patterns of p(p|q) p(p|f), in 0..1; cosine: in -1..1.
      ranking: which of them it is.
      category: name.
      pattern: id of the pattern that the foreground most probably is of.
      confidence: that pattern's probability.
      attributes: the pattern's, name -> value.
      description: the pattern's.
      licence, source_id: of the foreground, "" where unknown.
      width_px, height_px: extent of the cut-out.
      row: in the gallery.
    """

    id: str
    rank: int
    score: float
    ranking: RankBy
    category: str
    pattern: int
    confidence: float
    attributes: Mapping[str, str]
    description: str
    licence: str
    source_id: str
    width_px: int
    height_px: int
    row: int
    _gallery: Gallery = dataclasses.field(repr=False, compare=False)
    _query: EncodedQuery | None = dataclasses.field(repr=False, compare=False)

    @property
    def why(self) -> str:
        """Why this foreground was returned, in a sentence or two."""
        if self._query is None:
            return f"It is probably “{self.description}” ({self.confidence:.0%})."
        return self.explanation().text

    @property
    def pattern_probability(self) -> float:
        """p(pattern | query) of this foreground's pattern."""
        patterns = self._gallery.category(self.category).patterns
        return float(self._answered().posterior[patterns == self.pattern].sum())

    @property
    def pattern_reason(self) -> str:
        """How probable the attributes of this foreground's pattern are for the query; the same for all of a pattern."""
        patterns = self._gallery.category(self.category).patterns
        table = self._gallery.table
        return pattern_reason(self._answered().log_posterior, table.patterns[self.pattern], table, patterns)

    def explanation(self) -> Explanation:
        """The score taken apart: patterns and attributes with their probabilities on both sides.

        Raises:
          InputError: the hit answers no photograph (more like this).
        """
        query = self._answered()
        rows = self._gallery.category(self.category)
        return explain(
            query.log_posterior,
            np.asarray(rows.log_posteriors[self.row - rows.start]),
            self._gallery.table,
            patterns=rows.patterns,
            cosine=self.score if self.ranking == "cosine" else None,
        )

    def thumbnail(self) -> Image.Image:
        """Small RGBA picture."""
        return self._gallery.thumbnail(self.row)

    def cutout(self) -> Image.Image:
        """RGBA picture at full resolution."""
        return Image.fromarray(self._gallery.cutout(self.row))

    def composite(self, *, fit: "Fit" = "contain", harmonise: float = 0.0) -> Image.Image:
        """The query's photograph with this foreground in its rectangle; options as `compose.paste_cutout`.

        Raises:
          InputError: the hit answers no photograph (more like this), or the cut-out's file is gone.
        """
        from fos_jax.compose import paste_cutout  # most searches need no composites

        query = self._answered()
        cutout = self._gallery.cutout(self.row)
        return Image.fromarray(paste_cutout(query.photo, cutout, query.box_xyxy_px, fit=fit, harmonise=harmonise))

    def _answered(self) -> EncodedQuery:
        if self._query is None:
            raise InputError(f"hit {self.id}: answers no photograph but another foreground")
        return self._query

    def to_json(self) -> dict:
        """What can be written as JSON, `why` included."""
        public = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if not f.name.startswith("_")}
        return {**public, "attributes": dict(self.attributes), "why": self.why}


@dataclasses.dataclass(frozen=True)
class PatternGroup:
    """One pattern that fits a query, with the foregrounds of it.

    Attributes:
      id: the pattern's.
      category, description, attributes: the pattern's.
      probability: p(pattern | query).
      size: foregrounds of the gallery that are assigned to it (and pass the filters).
      representatives: those nearest to the pattern's prototype, nearest first; their score is that cosine.
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


@dataclasses.dataclass(frozen=True)
class PairScore:
    """How well one given cut-out fits one query.

    Attributes:
      posterior: sum over patterns of p(p|q) p(p|f), in 0..1.
      cosine: of the two embeddings, in -1..1.
      percentile: share of the gallery's foregrounds of the category that score lower by posterior, in 0..1; nan where
        there are none.
      pattern: most probable pattern of the cut-out.
      why: as a hit's.
    """

    posterior: float
    cosine: float
    percentile: float
    pattern: int
    why: str


def make_hits(
    rows: CategoryRows, local: np.ndarray, scores: np.ndarray, ranking: RankBy, query: EncodedQuery | None
) -> list[Hit]:
    """Hits for places [k] within a category, best first; places of -1 (no answer, at the end) are dropped."""
    gallery, meta, hits = rows.gallery, rows.gallery.metadata, []
    for rank, place in enumerate(local[local >= 0].tolist()):
        row = rows.start + place
        pattern = gallery.table.patterns[int(meta.pattern[row])]
        hits.append(
            Hit(
                id=str(meta.id[row]),
                rank=rank,
                score=float(scores[rank]),
                ranking=ranking,
                category=pattern.category,
                pattern=pattern.id,
                confidence=float(meta.confidence[row]),
                attributes=pattern.attributes,
                description=pattern.description,
                licence=str(meta.licence[row]),
                source_id=str(meta.source_id[row]),
                width_px=int(meta.width_px[row]),
                height_px=int(meta.height_px[row]),
                row=row,
                _gallery=gallery,
                _query=query,
            )
        )
    return hits


def rank_members(
    rows: CategoryRows, members: np.ndarray, ranking: RankBy, vector: np.ndarray, k: int, query: EncodedQuery | None
) -> list[Hit]:
    """Exact ranking of some rows of a category (places within it) by the inner product with a vector."""
    best, order = top_k((rows.vectors(ranking)[members] @ vector)[None], min(k, len(members)))
    return make_hits(rows, np.where(order[0] < 0, -1, members[order[0]]), best[0], ranking, query)


def probable_groups(
    gallery: Gallery,
    prototypes: np.ndarray,
    query: EncodedQuery,
    *,
    k: int,
    instances: int,
    representatives: int,
    ranking: RankBy,
    filters: Filters,
) -> list[PatternGroup]:
    """The k most probable patterns of which the gallery has foregrounds, each with its best instances.

    Args:
      gallery: where to look. prototypes: float32 [P, D], the bundle's. Others: as `ForegroundSearch.patterns`.
    """
    rows = gallery.category(query.category)
    allowed = filters.allowed(gallery.metadata, rows.rows, query.box_xyxy_px)
    vector = query.posterior if ranking == "posterior" else query.embedding
    members_of = ((i, np.flatnonzero(allowed & (rows.assigned == rows.patterns[i]))) for i in _by_probability(query))
    groups = []
    for local, members in itertools.islice(((i, found) for i, found in members_of if len(found)), k):
        hits = rank_members(rows, members, ranking, vector, instances, query)
        groups.append(_group(rows, prototypes, query, local, members, representatives, hits))
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
    """`choose` on a gallery, the chosen grouped by the pattern they are assigned to, most probable first.

    Args:
      gallery, prototypes: as `probable_groups`. Others: as `ForegroundSearch.overview`.
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
            hits = rank_members(rows, own, "posterior", query.posterior, len(own), query)
            groups.append(_group(rows, prototypes, query, local, members, representatives, hits))
    return groups


def _by_probability(query: EncodedQuery) -> list[int]:
    """The category's patterns, counted inside it, most probable first."""
    return np.argsort(-query.posterior, kind="stable").tolist()


def _group(
    rows: CategoryRows,
    prototypes: np.ndarray,
    query: EncodedQuery,
    local: int,
    members: np.ndarray,
    representatives: int,
    hits: Sequence[Hit],
) -> PatternGroup:
    """The group of the category's pattern number `local`, which these members of the category are assigned to."""
    pattern = rows.gallery.table.patterns[int(rows.patterns[local])]
    prototype = np.asarray(prototypes[pattern.id], np.float32)
    prototype = prototype / max(float(np.linalg.norm(prototype)), 1e-12)
    return PatternGroup(
        id=pattern.id,
        category=pattern.category,
        description=pattern.description,
        attributes=pattern.attributes,
        probability=float(query.posterior[local]),
        size=len(members),
        representatives=rank_members(rows, members, "cosine", prototype, representatives, query),
        hits=hits,
    )


def choose(
    find: Callable[[np.ndarray, int], np.ndarray],
    posteriors: np.ndarray,
    query_posterior: np.ndarray,
    total: int,
    *,
    coverage_weight: float = COVERAGE_WEIGHT,
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

    Source: decision 27, after Agrawal et al., "Diversifying search results", WSDM 2009 (the worth of covering what may
    be meant, greedily) and Santos et al., "Exploiting query reformulations for web search result diversification", WWW
    2010 (mixed with relevance).
    """
    chosen: list[int] = []
    unseen = np.ones_like(query_posterior)
    while len(chosen) < total:
        found = find(query_posterior * (1 + coverage_weight * unseen), len(chosen) + 1)
        new = next((int(row) for row in found if row >= 0 and row not in chosen), None)
        if new is None:
            break
        chosen.append(new)
        unseen = unseen * (1 - posteriors[new])
    return chosen
