"""Hits: the foregrounds that were found, and why."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from fos_jax.errors import InputError
from fos_jax.explain.reasons import Explanation, Reasoner, no_patterns, pattern_reason
from fos_jax.gallery.foregrounds import parse_sides
from fos_jax.gallery.snapshot import CategoryRows, RankBy
from fos_jax.retrieval.queries import EncodedQuery
from fos_jax.retrieval.rules import fit_sentence, rectangle_phrase

if TYPE_CHECKING:
    from fos_jax.compose.layers import Blend

_COLUMNS = ("id", "licence", "source_id", "tags", "width_px", "height_px", "truncated")


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
    _reasoner: Callable[[], Reasoner] = dataclasses.field(repr=False, compare=False)

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
        fit, experts = "", {}
        if query.experts:
            fit = fit_sentence(self.width_px, self.height_px, self.truncated, query.place, is_mirrored=self.is_mirrored)
            experts = {name: value for name, value in self.parts.items() if name in query.experts}
        return self._reasoner().explain(
            np.asarray(rows.posteriors[self._place], np.float64),
            cosine=self.score if self.ranking == "cosine" else None,
            experts=experts,
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
        made = paste_cutout(
            query.photo,
            self._pixels(),
            query.box_xyxy_px,
            truncated=self.truncated,
            harmonise=harmonise,
            shadow=shadow,
            blend=blend,
        )
        return Image.fromarray(made)

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
    numbers = rows.rows[places].tolist()
    best: dict[int, int] = {}  # row -> where it is first in the list
    for i, row in enumerate(numbers):
        if len(best) < k:
            best.setdefault(row, i)
    first = np.fromiter(best.values(), np.int64, len(best))
    table, hits = rows.gallery.table, dict[int, Hit]()

    @functools.cache
    def reasoner() -> Reasoner:
        assert query is not None
        options: Any = {"category": rows.name, "notes": {"geometry": rectangle_phrase(query.place)}}
        return Reasoner(query.log_posterior, table, patterns=rows.patterns, **options)

    for part, own, ranks in rows.split(places[first]):
        columns = (part.columns.values(name, own) for name in _COLUMNS)
        of_patterns = part.assigned[own].tolist(), part.confidence[own].tolist()
        for rank, number, confidence, identifier, licence, source_id, tags, width_px, height_px, sides in zip(
            ranks.tolist(), *of_patterns, *columns, strict=True
        ):
            pattern, at = table.patterns[number] if number >= 0 else None, first.item(rank)
            hits[rank] = Hit(
                id=identifier,
                rank=rank,
                score=scores.item(at),
                ranking=ranking,
                category=rows.name,
                pattern=number,
                confidence=confidence,
                attributes=pattern.attributes if pattern else {},
                description=pattern.description if pattern else "",
                licence=licence,
                source_id=source_id,
                tags=tuple(tags),
                width_px=width_px,
                height_px=height_px,
                row=numbers[at],
                is_mirrored=part.is_mirrored,
                truncated=parse_sides(sides, part.is_mirrored),
                _rows=rows,
                _place=places.item(at),
                _query=query,
                _reasoner=reasoner,
            )
    return [hits[rank] for rank in sorted(hits)]


def find_hits(
    rows: CategoryRows, vector: np.ndarray, ranking: RankBy, k: int, query: EncodedQuery | None, **only: Any
) -> list[Hit]:
    """The k foregrounds of highest inner product with a vector, highest first; `only` as `CategoryRows.search`."""
    scores, places = rows.search(vector, ranking, num_places(rows, k), **only)
    return make_hits(rows, places, scores, ranking, k, query)


def num_places(rows: CategoryRows, k: int) -> int:
    """How many of the best places hold k different foregrounds, where there are as many."""
    return 2 * k if rows.has_mirrored else k
