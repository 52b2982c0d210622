"""What a search returns."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fos_jax.errors import InputError
from fos_jax.explain.reasons import Explanation, explain, pattern_reason
from fos_jax.retrieval.gallery import Gallery, Ranking
from fos_jax.retrieval.queries import EncodedQuery

if TYPE_CHECKING:
    from fos_jax.compose.paste import Fit


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
    ranking: Ranking
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
            np.asarray(rows.log_posteriors[self.row - int(rows.rows[0])]),
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
        """The query's photograph with this foreground in its rectangle; options as `compose.paste.paste_cutout`.

        Raises:
          InputError: the hit answers no photograph (more like this), or the cut-out's file is gone.
        """
        from fos_jax.compose.paste import paste_cutout  # most searches need no composites

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
    gallery: Gallery, rows: np.ndarray, scores: np.ndarray, ranking: Ranking, query: EncodedQuery | None
) -> list[Hit]:
    """Hits for gallery rows [k], best first; rows of -1 (no answer) are dropped."""
    meta, hits = gallery.metadata, []
    for rank, (row, score) in enumerate(zip(rows.tolist(), scores.tolist(), strict=True)):
        if row < 0:
            break
        pattern = gallery.table.patterns[int(meta.pattern[row])]
        hits.append(
            Hit(
                id=str(meta.id[row]),
                rank=rank,
                score=float(score),
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
