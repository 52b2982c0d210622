"""Foreground object search in Milvus: the searches of a gallery run on candidates and say what they lack."""

import functools
from collections.abc import Callable, Collection, Sequence
from typing import Any

from fos_jax.gallery.snapshot import Snapshot
from fos_jax.milvus.gallery import MilvusGallery
from fos_jax.retrieval.backends import Wish
from fos_jax.retrieval.opened import Found
from fos_jax.retrieval.rules import Filters, Place, Refusal
from fos_jax.retrieval.search import ForegroundSearch


class MilvusSearch(ForegroundSearch):
    """As `ForegroundSearch`, with its gallery in Milvus; open it by `MilvusSearch.of(MilvusGallery.connect(...))`.

    Two answers differ: `score` and `reverse` give no percentile, and of categories without patterns the representatives
    are those nearest to the mean of what was found, not of all.
    """

    gallery: MilvusGallery  # type: ignore[assignment]  # it answers as a Gallery does, see the class

    def _look(
        self,
        find: Callable[[Snapshot], Found],
        category: str | None,
        filters: Filters,
        place: Place | None,
        *,
        ids: Sequence[str] = (),
    ) -> Found:
        """What a search finds once every list that it makes has its best foregrounds among the candidates.

        It is run on what was fetched so far, at first on nothing; what it looked for is fetched; and so on, until it
        looks for nothing new. A list by one vector is there after one request.
        """
        name = self.gallery.category_of(ids[0]) if category is None else category
        count = functools.cache(functools.partial(self.gallery.count, name, filters, place))
        wishes: dict[tuple[Any, ...], Wish] = {}
        while True:
            state = self.gallery.candidates(name, list(wishes.values()), filters, place, ids=ids)
            state.count = count
            found = find(state)
            new = {(wish.ranking, wish.k, wish.pattern, wish.vector.tobytes()): wish for wish in state.asked}
            if new.keys() <= wishes.keys():
                return found
            wishes |= new

    def _refusals(
        self, category: str, filters: Filters, place: Place, pattern: int | None
    ) -> tuple[int, Collection[Refusal]]:
        return self.gallery.refusals(category, filters, place, pattern=pattern)
