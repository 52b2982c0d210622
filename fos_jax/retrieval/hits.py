"""Hits: the foregrounds that were found, and why."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from fos_jax.errors import InputError
from fos_jax.explain.reasons import Explanation, explain, no_patterns, pattern_reason
from fos_jax.gallery.foregrounds import parse_sides
from fos_jax.gallery.snapshot import CategoryRows, RankBy
from fos_jax.retrieval.queries import EncodedQuery
from fos_jax.retrieval.rules import fit_sentence, rectangle_phrase

if TYPE_CHECKING:
    from fos_jax.compose.layers import Blend


@dataclasses.dataclass(frozen=True)
class Hit:
    """One foreground that was found.

    Attributes:
      id: the foreground's.
      rank: from 0.
      score: higher fits better; posterior: sum over patterns of p(p|q) p(p|f), in 0..1, and where the bundle has
        experts, their weighted cosines too; cosine: in -1..1.
      ranking: which of them it is.
      category: name.
      pattern: id of the pattern that the foreground most probably is of; -1 where the category has none.
      confidence: that pattern's probability; 0 where there is none.
      attributes: the pattern's, name -> value.
      description: the pattern's; "" where there is none.
      licence, source_id: of the foreground, "" where unknown.
      tags: of the foreground.
      width_px, height_px: extent of the cut-out.
      row: in the snapshot of the gallery that was searched; the id lasts longer.
      is_mirrored: whether it is offered flipped left to right; all pictures of it are.
      truncated: sides at which its photograph cut it, as it is offered; None where unknown.
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
    tags: tuple[str, ...]
    width_px: int
    height_px: int
    row: int
    is_mirrored: bool
    truncated: tuple[str, ...] | None
    _rows: CategoryRows = dataclasses.field(repr=False, compare=False)
    _place: int = dataclasses.field(repr=False, compare=False)
    _query: EncodedQuery | None = dataclasses.field(repr=False, compare=False)

    @property
    def why(self) -> str:
        """Why this foreground was returned, in a sentence or two."""
        if self._query is None and self.pattern < 0:
            return f"N{no_patterns(self.category)[1:]}."
        if self._query is None:
            return f"It is probably “{self.description}” ({self.confidence:.0%})."
        return self.explanation().text

    @property
    def pattern_probability(self) -> float:
        """p(pattern | query) of this foreground's pattern; 0 where there is none."""
        return float(self._answered().posterior[self._rows.patterns == self.pattern].sum())

    @property
    def pattern_reason(self) -> str:
        """How probable the attributes of this foreground's pattern are for the query; the same for all of a pattern."""
        if self.pattern < 0:
            return no_patterns(self.category)
        table = self._rows.gallery.table
        return pattern_reason(self._answered().log_posterior, table.patterns[self.pattern], table, self._rows.patterns)

    @property
    def parts(self) -> dict[str, float]:
        """What patterns and experts bring to the score by posterior; see `Explanation.parts`."""
        return self._rows.score_parts(self._place, self._answered())

    @property
    def expert_vectors(self) -> dict[str, np.ndarray]:
        """name -> float32 [size of the expert], unit: the foreground as each expert sees it."""
        return {name: np.asarray(vectors[self._place]) for name, vectors in self._rows.experts.items()}

    def explanation(self) -> Explanation:
        """The score taken apart: parts, and patterns and attributes with their probabilities on both sides.

        Raises:
          InputError: the hit answers no photograph (more like this).
        """
        query, rows = self._answered(), self._rows
        fit = ""
        if query.experts:
            fit = fit_sentence(self.width_px, self.height_px, self.truncated, query.place, is_mirrored=self.is_mirrored)
        return explain(
            query.log_posterior,
            np.asarray(rows.log_posteriors[self._place]),
            rows.gallery.table,
            patterns=rows.patterns,
            category=self.category,
            cosine=self.score if self.ranking == "cosine" else None,
            experts={name: value for name, value in self.parts.items() if name in query.experts},
            notes={"geometry": rectangle_phrase(query.place)},
            fit=fit,
        )

    def thumbnail(self) -> Image.Image:
        """Small RGBA picture."""
        picture = self._rows.gallery.thumbnail(self.row)
        return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if self.is_mirrored else picture

    def cutout(self) -> Image.Image:
        """RGBA picture at full resolution."""
        return Image.fromarray(self._pixels())

    def _pixels(self) -> np.ndarray:
        pixels = self._rows.gallery.cutout(self.row)
        return np.ascontiguousarray(pixels[:, ::-1]) if self.is_mirrored else pixels

    def composite(self, *, harmonise: float = 0.0, shadow: float = 0.0, blend: "Blend" = "none") -> Image.Image:
        """The query's photograph with this foreground in its rectangle; options as `compose.layers.Layer`.

        Raises:
          InputError: the hit answers no photograph (more like this), or the cut-out's file is gone.
        """
        from fos_jax.compose.layers import paste_cutout  # most searches need no composites

        query = self._answered()
        options = {"truncated": self.truncated, "harmonise": harmonise, "shadow": shadow, "blend": blend}
        return Image.fromarray(paste_cutout(query.photo, self._pixels(), query.box_xyxy_px, **options))

    def _answered(self) -> EncodedQuery:
        if self._query is None:
            raise InputError(f"hit {self.id}: answers no photograph but another foreground")
        return self._query

    def to_json(self) -> dict:
        """What can be written as JSON, `why` included."""
        public = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if not f.name.startswith("_")}
        parts = self.parts if self._query is not None and self._query.experts else {}
        return {**public, "attributes": dict(self.attributes), "parts": parts, "why": self.why}


@dataclasses.dataclass(frozen=True)
class PairScore:
    """How well one given cut-out fits one query.

    Attributes:
      score: by posterior, as a hit's.
      posterior: its part from patterns: sum over patterns of p(p|q) p(p|f), in 0..1.
      cosine: of the two embeddings, in -1..1.
      percentile: share of the gallery's foregrounds of the category that score lower, in 0..1; nan where there are
        none.
      pattern: most probable pattern of the cut-out, -1 where its category has none.
      parts: see `Explanation.parts`.
      why: as a hit's.
    """

    score: float
    posterior: float
    cosine: float
    percentile: float
    pattern: int
    parts: Mapping[str, float]
    why: str


def make_hits(
    rows: CategoryRows, places: np.ndarray, scores: np.ndarray, ranking: RankBy, k: int, query: EncodedQuery | None
) -> list[Hit]:
    """At most k hits for places within a category, best first.

    Of a foreground that comes as it is and mirrored, the better one is a hit: `num_places` says how many to look at.
    """
    table, hits, seen = rows.gallery.table, list[Hit](), set[int]()
    numbers = rows.rows[places].tolist()
    for place, row, score in zip(places.tolist(), numbers, scores.tolist(), strict=True):
        if row in seen or len(hits) == k:
            continue
        seen.add(row)
        part, own = rows.locate(place)
        value = part.columns.value
        number = int(part.assigned[own])
        pattern = table.patterns[number] if number >= 0 else None
        hits.append(
            Hit(
                id=value("id", own),
                rank=len(hits),
                score=score,
                ranking=ranking,
                category=rows.name,
                pattern=number,
                confidence=float(part.confidence[own]),
                attributes=pattern.attributes if pattern else {},
                description=pattern.description if pattern else "",
                licence=value("licence", own),
                source_id=value("source_id", own),
                tags=tuple(value("tags", own)),
                width_px=value("width_px", own),
                height_px=value("height_px", own),
                row=row,
                is_mirrored=part.is_mirrored,
                truncated=parse_sides(value("truncated", own), part.is_mirrored),
                _rows=rows,
                _place=place,
                _query=query,
            )
        )
    return hits


def find_hits(
    rows: CategoryRows, vector: np.ndarray, ranking: RankBy, k: int, query: EncodedQuery | None, **only: Any
) -> list[Hit]:
    """The k foregrounds of highest inner product with a vector, highest first; `only` as `CategoryRows.search`."""
    scores, places = rows.search(vector, ranking, num_places(rows, k), **only)
    return make_hits(rows, places, scores, ranking, k, query)


def num_places(rows: CategoryRows, k: int) -> int:
    """How many of the best places hold k different foregrounds, where there are as many."""
    return 2 * k if rows.has_mirrored else k
