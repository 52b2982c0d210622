"""An opened gallery: what all searches share."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from fos_jax.boxes import check_box_xyxy_px
from fos_jax.errors import InputError
from fos_jax.experts.loading import SHIPPED
from fos_jax.gallery.gallery import Gallery
from fos_jax.gallery.snapshot import RankBy, Snapshot
from fos_jax.images import ImageSource, read_image
from fos_jax.retrieval.diversity import check_diversity, diverse_hits
from fos_jax.retrieval.hits import Hit, find_hits
from fos_jax.retrieval.queries import EncodedQuery, SearchQuery, encode_queries
from fos_jax.retrieval.rules import NO_FILTERS, Filters, Place, Refusal, refused

Found = TypeVar("Found")


class OpenedGallery:
    """A gallery and the bundle that built it, ready to answer."""

    def __init__(self, gallery: Gallery, bundle: Any):
        """Use `open`; this takes both as objects, already known to belong together."""
        self.gallery, self.bundle, self.table = gallery, bundle, gallery.table

    @classmethod
    def open(cls, path: str | Path, bundle: Any = None, *, verify: bool = False) -> Self:
        """Opens a gallery for search.

        Args:
          path: the gallery's folder.
          bundle: a model bundle or the path of one; None for the one that the gallery names.
          verify: compare the checksums of the gallery's files.

        Raises:
          InputError: no gallery or bundle there, a damaged one, a bundle that did not build this gallery, or one
            without a query encoder.
        """
        return cls.of(Gallery.open(path, verify=verify), bundle, where=str(path))

    @classmethod
    def of(cls, gallery: Any, bundle: Any = None, *, where: str) -> Self:
        """`open` for an opened gallery, which is closed where it does not fit; `where` is what messages call it."""
        try:
            if bundle is None:
                bundle = gallery.bundle_path or SHIPPED  # another environment: the package's own may have built it
                if not Path(bundle).is_dir():
                    raise InputError(f"{where}: its bundle is gone, expected at {gallery.manifest['bundle']['path']}")
            if isinstance(bundle, str | Path):
                from fos_jax.experts.loading import load

                bundle = load(bundle)
            gallery.check_bundle(bundle.fingerprint)
            if not bundle.has_query_encoder:
                raise InputError(f"bundle {bundle.fingerprint}: has no query encoder, expected one that was distilled")
            if set(gallery.experts) != set(bundle.expert_weights):
                theirs, ours = (", ".join(names) or "none" for names in (gallery.experts, bundle.expert_weights))
                raise InputError(
                    f"{where}: holds the vectors of experts {theirs}, bundle {bundle.fingerprint} has {ours}"
                )
        except InputError:
            gallery.close()
            raise
        return cls(gallery, bundle)

    def close(self) -> None:
        """Closes the gallery's files."""
        self.gallery.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _look(
        self,
        find: Callable[[Snapshot], Found],
        category: str | None,
        filters: Filters,
        place: Place | None,
        *,
        ids: Sequence[str] = (),
    ) -> Found:
        """What a search finds: `find` is told where. Backends that hold candidates only are told what to fetch by.

        Args:
          find: looks only for foregrounds of the category that pass, and for those of `ids`.
          category: None for that of the first of `ids`.
        """
        return find(self.gallery.snapshot())

    def why_few(
        self,
        photo: ImageSource,
        box: Sequence[float],
        category: str,
        *,
        pattern: int | None = None,
        filters: Filters = NO_FILTERS,
    ) -> str:
        """Why a search finds few or none: how many foregrounds each rule refuses, and the flag that relaxes it.

        Args:
          As `instances`.

        Returns:
          One sentence; "" where nothing is refused.
        """
        height, width = read_image(photo).shape[:2]
        place = Place(check_box_xyxy_px(box, width, height), width, height)
        return self.why_few_at(place, category, pattern=pattern, filters=filters)

    def why_few_at(
        self, place: Place, category: str, *, pattern: int | None = None, filters: Filters = NO_FILTERS
    ) -> str:
        """`why_few` for a rectangle that is checked already."""
        num_rows, refusals = self._refusals(category, self._limits(filters), place, pattern)
        return refused(num_rows, category, refusals)

    def _refusals(
        self, category: str, filters: Filters, place: Place, pattern: int | None
    ) -> tuple[int, Collection[Refusal]]:
        """How many foregrounds there are, and how many each rule refuses."""
        rows = self.gallery.category(category, mirror=filters.mirror)
        return len(rows), filters.refusals(rows, place, pattern=pattern)

    def _encode(
        self, photo: ImageSource, box: Sequence[float], category: str, weights: Mapping[str, float] | None
    ) -> EncodedQuery:
        return encode_queries([SearchQuery(photo, box, category)], self.bundle, weights=weights)[0]

    def _limits(self, filters: Filters) -> Filters:
        """Bundles with experts are for photographs: what composition demands holds unless it is relaxed."""
        return filters.demanded() if self.bundle.expert_weights else filters

    def _check_pattern(self, pattern: int, category: str) -> None:
        known = self.gallery.category(category).patterns
        if pattern not in known:
            ids = f"{known[0]} to {known[-1]}" if len(known) else "none"
            raise InputError(f"pattern: got {pattern!r}, expected one of {category}'s: {ids}")

    def search_encoded(
        self,
        query: EncodedQuery,
        *,
        k: int = 20,
        pattern: int | None = None,
        ranking: RankBy = "posterior",
        filters: Filters = NO_FILTERS,
        diversity: float = 0.0,
    ) -> list[Hit]:
        """`instances` for a query that is already encoded, which carries its weights: the search alone."""
        check_count("k", k)
        check_diversity(diversity)
        limits = self._limits(filters)
        if pattern is not None:
            self._check_pattern(pattern, query.category)

        def find(state: Snapshot) -> list[Hit]:
            rows = state.category(query.category, mirror=limits.mirror)
            allowed = limits.allowed(rows, query.place)
            if diversity:
                return diverse_hits(rows, query, ranking, k, diversity, allowed=allowed, pattern=pattern)
            vector = rows.query_vector(query, ranking)
            return find_hits(rows, vector, ranking, k, query, allowed=allowed, pattern=pattern)

        return self._look(find, query.category, limits, query.place)


def check_count(name: str, value: int) -> None:
    """`InputError` for what is no whole number of 1 or more."""
    if not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"{name}: got {value!r}, expected a whole number of 1 or more")
