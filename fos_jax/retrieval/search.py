"""Foreground object search: instances, patterns, more like this, pairs, reverse search, explanations.

search = ForegroundSearch.open("runs/demo/gallery")
groups = search.patterns("street.jpg", box=(410, 220, 640, 380), category="car", k=3)
hits = search.instances("street.jpg", box=(410, 220, 640, 380), category="car", k=20, pattern=groups[1].id)
hits[0].composite().save("out.png")
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fos_jax.errors import InputError
from fos_jax.gallery.snapshot import RankBy, Snapshot
from fos_jax.images import ImageSource
from fos_jax.retrieval.explanations import Explanations
from fos_jax.retrieval.groups import COVERAGE_WEIGHT, PatternGroup, overview_groups, patterns_with, probable_groups
from fos_jax.retrieval.hits import Hit, find_hits
from fos_jax.retrieval.opened import check_count
from fos_jax.retrieval.pairs import Pairs
from fos_jax.retrieval.queries import ForegroundAsQuery, SearchQuery, encode_queries
from fos_jax.retrieval.rules import NO_FILTERS, Filters


class ForegroundSearch(Pairs, Explanations):
    """A gallery and the bundle that built it, ready to answer."""

    def instances(
        self,
        photo: ImageSource,
        box: Sequence[float],
        category: str,
        *,
        k: int = 20,
        pattern: int | None = None,
        ranking: RankBy = "posterior",
        weights: Mapping[str, float] | None = None,
        filters: Filters = NO_FILTERS,
        diversity: float = 0.0,
    ) -> list[Hit]:
        """The k foregrounds that fit best, best first; fewer where there are fewer.

        Args:
          photo: path, encoded bytes, PIL image or uint8 array.
          box: x0, y0, x1, y1 in whole pixels of the upright photograph, half-open.
          category: name of the category.
          k: how many.
          pattern: only foregrounds that are assigned to this pattern.
          ranking: "posterior" (sum over patterns of p(p|q) p(p|f), plus the experts' weighted cosines where the bundle
            has any) or "cosine" (of the embeddings).
          weights: of experts, by name, where they are not to be the bundle's; 0 leaves one out.
          filters: hard limits.
          diversity: 0 ranks by score; up to 1, foregrounds of other patterns and of another look come before better
            ones that are like those already shown (`diversity.diverse_hits`).

        Raises:
          InputError: an unusable photograph or rectangle, an unknown category, pattern, ranking or expert, a weight
            that is no number of 0 or more, diversity outside 0..1, or k below 1.
        """
        options: Any = {"k": k, "pattern": pattern, "ranking": ranking, "filters": filters, "diversity": diversity}
        return self.search_encoded(self._encode(photo, box, category, weights), **options)

    def instances_batch(
        self,
        queries: Sequence[SearchQuery],
        *,
        k: int = 20,
        pattern: int | None = None,
        ranking: RankBy = "posterior",
        weights: Mapping[str, float] | None = None,
        filters: Filters = NO_FILTERS,
        diversity: float = 0.0,
    ) -> list[list[Hit]]:
        """`instances` for many queries, encoded together; one list of hits per query."""
        options: Any = {"k": k, "pattern": pattern, "ranking": ranking, "filters": filters, "diversity": diversity}
        return [self.search_encoded(q, **options) for q in encode_queries(queries, self.bundle, weights=weights)]

    def patterns(
        self,
        photo: ImageSource,
        box: Sequence[float],
        category: str,
        *,
        k: int = 3,
        instances: int = 8,
        representatives: int = 3,
        attributes: Mapping[str, str] | None = None,
        ranking: RankBy = "posterior",
        weights: Mapping[str, float] | None = None,
        filters: Filters = NO_FILTERS,
    ) -> list[PatternGroup]:
        """The k most probable patterns of which the gallery has foregrounds, most probable first.

        Of a category without patterns all foregrounds are one group.

        Args:
          k: how many patterns.
          instances: how many foregrounds to rank inside each.
          representatives: how many foregrounds to show it by.
          attributes: only patterns that have these values, by name.
          Others, and what is raised: as `instances`; and unknown attributes and values.
        """
        counts: dict[str, Any] = {"k": k, "instances": instances, "representatives": representatives}
        for name, value in counts.items():
            check_count(name, value)
        query, limits = self._encode(photo, box, category, weights), self._limits(filters)
        counts["patterns"] = patterns_with(self.table, category, attributes) if attributes else None

        def find(state: Snapshot) -> list[PatternGroup]:
            return probable_groups(state, self.bundle.prototypes, query, **counts, ranking=ranking, filters=limits)

        return self._look(find, category, limits, query.place)

    def overview(
        self,
        photo: ImageSource,
        box: Sequence[float],
        category: str,
        *,
        total: int = 20,
        coverage_weight: float = COVERAGE_WEIGHT,
        representatives: int = 3,
        weights: Mapping[str, float] | None = None,
        filters: Filters = NO_FILTERS,
    ) -> list[PatternGroup]:
        """A few places shared out over all patterns that may fit, as groups, most probable pattern first.

        Args:
          total: how many foregrounds in all groups together; fewer where there are fewer.
          coverage_weight: what a fitting pattern's first appearance is worth, in fitting foregrounds: 0 shows what
            `instances` shows; see `hits.choose`.
          representatives: how many foregrounds to show each pattern by.
          Others, and what is raised: as `instances`.
        """
        check_count("total", total)
        check_count("representatives", representatives)
        if not (np.isfinite(coverage_weight) and coverage_weight >= 0):
            raise InputError(f"coverage_weight: got {coverage_weight!r}, expected a number of 0 or more")
        query, limits = self._encode(photo, box, category, weights), self._limits(filters)
        options: Any = {"total": total, "coverage_weight": coverage_weight, "representatives": representatives}

        def find(state: Snapshot) -> list[PatternGroup]:
            return overview_groups(state, self.bundle.prototypes, query, **options, filters=limits)

        return self._look(find, category, limits, query.place)

    def similar(
        self, identifier: str, *, k: int = 20, ranking: RankBy = "cosine", filters: Filters = NO_FILTERS
    ) -> list[Hit]:
        """More like this: the k foregrounds of the same category nearest to one of the gallery, itself left out.

        Raises:
          InputError: an unknown id or ranking, or k below 1.
        """
        check_count("k", k)
        others = dataclasses.replace(filters, mirror=False, exclude=(*filters.exclude, identifier))

        def find(state: Snapshot) -> list[Hit]:
            row = state.row_of(identifier)
            rows = state.category(state.value("category", row))
            place = rows.place_of(row)
            experts = {name: vectors[place] for name, vectors in rows.experts.items()}
            own = ForegroundAsQuery(rows.embeddings[place], rows.posteriors[place], experts, self.bundle.expert_weights)
            vector = rows.query_vector(own, ranking)
            return find_hits(rows, vector, ranking, k, None, allowed=others.allowed(rows, None))

        return self._look(find, None, others, None, ids=[identifier])
