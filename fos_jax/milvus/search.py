"""Foreground object search in Milvus: the searches of a gallery run on candidates and say what they lack."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from fos_jax.boxes import check_box_xyxy_px
from fos_jax.errors import InputError
from fos_jax.gallery.snapshot import RankBy
from fos_jax.images import ImageSource, read_image
from fos_jax.milvus.gallery import MilvusGallery
from fos_jax.retrieval.backends import NO_FILTERS, Wish
from fos_jax.retrieval.groups import COVERAGE_WEIGHT, PatternGroup, probable_groups
from fos_jax.retrieval.hits import Hit
from fos_jax.retrieval.queries import EncodedQuery, SearchQuery, encode_queries
from fos_jax.retrieval.rules import Filters, Place, refused
from fos_jax.retrieval.search import ForegroundSearch

Found = TypeVar("Found")


class MilvusSearch(ForegroundSearch):
    """As `ForegroundSearch`, with its gallery in Milvus; open it by `MilvusSearch.of(MilvusGallery.connect(...))`.

    Two answers differ: `score` gives no percentile, and of categories without patterns the representatives are those
    nearest to the mean of what was found, not of all.
    """

    gallery: MilvusGallery  # type: ignore[assignment]  # it answers as a Gallery does, see the class

    def search_encoded(
        self,
        query: EncodedQuery,
        *,
        k: int = 20,
        pattern: int | None = None,
        ranking: RankBy = "posterior",
        filters: Filters = NO_FILTERS,
    ) -> list[Hit]:
        """See `ForegroundSearch.search_encoded`."""
        limits = self._limits(filters)
        options: dict[str, Any] = {"k": k, "pattern": pattern, "ranking": ranking, "filters": limits}

        def run(search: ForegroundSearch) -> list[Hit]:
            return search.search_encoded(query, **options)

        return self._settle(run, query.category, limits, query.place, pattern=pattern)[0]

    def patterns(
        self,
        photo: ImageSource,
        box: Sequence[float],
        category: str,
        *,
        k: int = 3,
        instances: int = 8,
        representatives: int = 3,
        ranking: RankBy = "posterior",
        weights: Mapping[str, float] | None = None,
        filters: Filters = NO_FILTERS,
    ) -> list[PatternGroup]:
        """See `ForegroundSearch.patterns`."""
        counts = {"k": k, "instances": instances, "representatives": representatives}
        for name, value in counts.items():
            if value < 1:
                raise InputError(f"{name}: got {value!r}, expected a whole number of 1 or more")
        query, limits = encode_queries([SearchQuery(photo, box, category)], self.bundle, weights=weights)[0], filters
        limits = self._limits(filters)
        rows = self.gallery.category(category, mirror=limits.mirror)
        vector, factor = rows.query_vector(query, ranking), 1 + limits.mirror
        wishes, shown = list[Wish](), 0
        for number in rows.patterns[np.argsort(-query.posterior, kind="stable")].tolist() or [None]:
            if not self.gallery.count(category, limits, query.place, pattern=number):
                continue
            wishes.append(Wish(vector, ranking, factor * instances, number))
            wishes += self._representatives(number, factor * representatives)
            shown += 1
            if shown == k:
                break
        state = self.gallery.candidates(category, wishes, limits, query.place)
        groups = probable_groups(state, self.bundle.prototypes, query, **counts, ranking=ranking, filters=limits)
        return self._sized(groups, limits, query.place)

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
        """See `ForegroundSearch.overview`."""
        limits = self._limits(filters)
        options: dict[str, Any] = {"coverage_weight": coverage_weight, "representatives": representatives}
        options |= {"total": total, "weights": weights, "filters": limits}
        height, width = read_image(photo).shape[:2]
        place = Place(check_box_xyxy_px(box, width, height), width, height)

        def run(search: ForegroundSearch) -> list[PatternGroup]:
            return search.overview(photo, box, category, **options)

        groups, wishes = self._settle(run, category, limits, place, least=total)
        for group in groups:
            wishes += self._representatives(group.id if group.id >= 0 else None, (1 + limits.mirror) * representatives)
        state = self.gallery.candidates(category, wishes, limits, place)
        return self._sized(run(ForegroundSearch(state, self.bundle)), limits, place)  # type: ignore[arg-type]

    def similar(
        self, identifier: str, *, k: int = 20, ranking: RankBy = "cosine", filters: Filters = NO_FILTERS
    ) -> list[Hit]:
        """See `ForegroundSearch.similar`."""
        others = dataclasses.replace(filters, mirror=False, exclude=(*filters.exclude, identifier))

        def run(search: ForegroundSearch) -> list[Hit]:
            return search.similar(identifier, k=k, ranking=ranking, filters=filters)

        return self._settle(run, self.gallery.category_of(identifier), others, None, ids=[identifier])[0]

    def why_few(
        self,
        photo: ImageSource,
        box: Sequence[float],
        category: str,
        *,
        pattern: int | None = None,
        filters: Filters = NO_FILTERS,
    ) -> str:
        """See `ForegroundSearch.why_few`."""
        height, width = read_image(photo).shape[:2]
        place = Place(check_box_xyxy_px(box, width, height), width, height)
        num_rows, refusals = self.gallery.refusals(category, self._limits(filters), place, pattern=pattern)
        return refused(num_rows, category, refusals)

    def _settle(
        self,
        run: Callable[[ForegroundSearch], Found],
        category: str,
        filters: Filters,
        place: Place | None,
        *,
        pattern: int | None = None,
        ids: Sequence[str] = (),
        least: int = 1,
    ) -> tuple[Found, list[Wish]]:
        """What a search finds once every list that it makes has its best foregrounds among the candidates.

        It is run on what was fetched so far, at first on nothing; what it looked for is fetched; and so on, until it
        looks for nothing new. A list by one vector is there after one request.

        Args:
          run: the search; where it passes by foregrounds by other rules than these, those must be among the wishes.
          category, filters, place, ids: of the candidates. pattern: only these.
          least: how many are fetched for a list at least.

        Returns:
          What it found, and the wishes.
        """
        wishes: dict[tuple[Any, ...], Wish] = {}
        while True:
            state = self.gallery.candidates(category, list(wishes.values()), filters, place, ids=ids)
            found = run(ForegroundSearch(state, self.bundle))  # type: ignore[arg-type]
            asked = [wish._replace(k=max(least, wish.k), pattern=pattern) for wish in state.asked]
            new = {(wish.ranking, wish.k, wish.vector.tobytes()): wish for wish in asked}
            if new.keys() <= wishes.keys():
                return found, list(wishes.values())
            wishes |= new

    def _representatives(self, pattern: int | None, k: int) -> list[Wish]:
        if pattern is None:
            return []
        prototype = np.asarray(self.bundle.prototypes[pattern], np.float32)
        prototype = prototype / max(float(np.linalg.norm(prototype)), 1e-12)
        return [Wish(prototype, "cosine", k, pattern)]

    def _sized(self, groups: Sequence[PatternGroup], filters: Filters, place: Place) -> list[PatternGroup]:
        """The groups with the number of all their foregrounds, of which candidates are a few."""
        count = self.gallery.count
        return [
            dataclasses.replace(g, size=count(g.category, filters, place, pattern=g.id if g.id >= 0 else None))
            for g in groups
        ]
