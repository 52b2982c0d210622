"""Explanations of a query: its patterns and attributes, what would have to differ, and the evidence in the picture."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from fos_jax.errors import InputError
from fos_jax.explain.differences import Difference, attribute_marginals, difference
from fos_jax.explain.reasons import no_patterns, pattern_reason
from fos_jax.gallery.foregrounds import class_id
from fos_jax.images import ImageSource
from fos_jax.retrieval.opened import OpenedGallery, check_count
from fos_jax.retrieval.queries import EncodedQuery
from fos_jax.retrieval.rules import NO_FILTERS, Filters


@dataclasses.dataclass(frozen=True)
class ProbablePattern:
    """A pattern and p(pattern | query).

    Attributes:
      id, description, attributes: as in the pattern table. probability: in 0..1.
    """

    id: int
    description: str
    probability: float
    attributes: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class QueryExplanation:
    """What a model makes of a query, before any foreground is looked at.

    Attributes:
      patterns: the most probable ones, most probable first; none where the category has no patterns.
      attributes: name -> value -> p(value | query), in the table's order; empty where patterns carry no attributes.
      difference: between the best pattern, or the one that was asked for, and the next; None where there is no other.
      text: the best pattern and its attributes in one sentence, and what would have to differ in another.
    """

    patterns: tuple[ProbablePattern, ...]
    attributes: Mapping[str, Mapping[str, float]]
    difference: Difference | None
    text: str

    def to_json(self) -> dict[str, Any]:
        """What can be written as JSON."""
        return dataclasses.asdict(self)


class Explanations(OpenedGallery):
    """Searches for reasons."""

    def explain_query(
        self, photo: ImageSource, box: Sequence[float], category: str, pattern: int | None = None, *, k: int = 5
    ) -> QueryExplanation:
        """The patterns and attributes that a query speaks for, and what would have to differ for another to win.

        Args:
          photo, box, category: as `instances`.
          pattern: id of the one to compare; the most probable by default, which is compared with the next. Any other is
            compared with the most probable.
          k: how many patterns to give.

        Raises:
          InputError: an unusable photograph or rectangle, an unknown category or pattern, or k below 1.
        """
        check_count("k", k)
        query, ids = self._encode(photo, box, category, None), self.gallery.category(category).patterns
        if pattern is not None:
            self._check_pattern(pattern, category)
        if not len(ids):
            return QueryExplanation((), {}, None, f"N{no_patterns(category)[1:]}.")
        order = ids[np.argsort(-query.posterior, kind="stable")].tolist()
        probability = dict(zip(ids.tolist(), query.posterior.tolist(), strict=True))
        patterns = (self.table.patterns[number] for number in order[:k])
        told = tuple(ProbablePattern(p.id, p.description, probability[p.id], dict(p.attributes)) for p in patterns)
        best = told[0]
        reason = pattern_reason(query.log_posterior, self.table.patterns[best.id], self.table, ids)
        because = "" if reason == best.description else f": {reason}"
        found, mine = None, order[0] if pattern is None else pattern
        if others := [number for number in order[:2] if number != mine]:
            found = difference(query.log_posterior, mine, others[0], self.table, ids)
        said = f"Most probably “{best.description}” ({100 * best.probability:.0f} %){because}."
        text = said if found is None else f"{said} {found.text}"
        return QueryExplanation(told, attribute_marginals(query.log_posterior, self.table, ids), found, text)

    def evidence(
        self,
        photo: ImageSource,
        box: Sequence[float],
        category: str,
        pattern: int | None = None,
        *,
        weights: Mapping[str, float] | None = None,
        filters: Filters = NO_FILTERS,
        progress: bool = False,
    ) -> Image.Image:
        """The photograph with what speaks for a pattern in red and what speaks against it in blue.

        Of a category without patterns: what speaks for the best foreground by its whole score.

        The parts of the photograph are covered one after another (`explain.evidence.occlusion_map`): some two hundred
        encodings of the query.

        Args:
          photo, box, category, weights, filters: as `instances`.
          pattern: id; the most probable one by default.
          progress: whether to show a progress bar.

        Raises:
          InputError: an unusable photograph or rectangle, or an unknown category or pattern; a category without
            patterns of which no foreground passes the filters.
        """
        from fos_jax.explain.evidence import evidence_picture, occlusion_map

        query = self._encode(photo, box, category, weights)
        score = self._explained(query, pattern, filters, progress)
        evidence = occlusion_map(score, self.bundle.query_inputs(query.photo, query.box_xyxy_px))
        window = self.bundle.query_window(*query.place)
        return Image.fromarray(evidence_picture(query.photo, query.box_xyxy_px, evidence, window))

    def _explained(
        self, query: EncodedQuery, pattern: int | None, filters: Filters, progress: bool
    ) -> Callable[..., np.ndarray]:
        """What `evidence` explains, of stacked inputs: a pattern's log-probability, or the best hit's score."""
        from fos_jax.explain.evidence import pattern_mass

        rows, number = self.gallery.category(query.category), class_id(query.category, self.bundle)

        def encode(*inputs: np.ndarray) -> Any:
            category = np.full(len(inputs[0]), number, np.int32)
            return self.bundle.encode_queries(*inputs, category, batch_size=128, progress=progress)

        if pattern is None and not len(rows.patterns):
            hits = self.search_encoded(query, k=1, filters=filters)
            if not hits:
                why = self.why_few(query.photo, query.box_xyxy_px, query.category, filters=filters)
                raise InputError(f"nothing to explain: {why or 'the gallery has no foregrounds of this category'}")
            vectors = hits[0].expert_vectors

            def of_hit(*inputs: np.ndarray) -> np.ndarray:
                experts = encode(*inputs).experts
                cosines = [query.weights[name] * (experts[name] @ own) for name, own in vectors.items()]
                return np.sum(cosines, axis=0)

            return of_hit
        best = int(rows.patterns[query.posterior.argmax()]) if pattern is None else pattern
        self._check_pattern(best, query.category)
        return lambda *inputs: pattern_mass(encode(*inputs).log_posterior, [best])
