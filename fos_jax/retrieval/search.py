"""Foreground object search: instances, patterns, more like this, a score for a pair.

search = ForegroundSearch.open("runs/demo/gallery")
groups = search.patterns("street.jpg", box=(410, 220, 640, 380), category="car", k=3)
hits = search.instances("street.jpg", box=(410, 220, 640, 380), category="car", k=20, pattern=groups[1].id)
hits[0].composite().save("out.png")
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fos_jax.errors import InputError
from fos_jax.explain.reasons import explain
from fos_jax.images import ImageSource, prepare_cutout, prepare_query, read_cutout
from fos_jax.retrieval.gallery import Gallery, RankBy
from fos_jax.retrieval.hits import (
    COVERAGE_WEIGHT,
    Hit,
    PairScore,
    PatternGroup,
    make_hits,
    overview_groups,
    probable_groups,
    rank_members,
)
from fos_jax.retrieval.queries import EncodedQuery, Filters, SearchQuery, encode_queries

_NO_FILTERS = Filters()


class ForegroundSearch:
    """A gallery and the bundle that built it, ready to answer."""

    def __init__(self, gallery: Gallery, bundle: Any):
        """Use `open`; this takes both as objects, already known to belong together."""
        self.gallery, self.bundle, self.table = gallery, bundle, gallery.table

    @classmethod
    def open(cls, path: str | Path, bundle: Any = None, *, verify: bool = False) -> "ForegroundSearch":
        """Opens a gallery for search.

        Args:
          path: the gallery's folder.
          bundle: a model bundle or the path of one; None for the one that the gallery names.
          verify: compare the checksums of the gallery's files.

        Raises:
          InputError: no gallery or bundle there, a damaged one, a bundle that did not build this gallery, or one
            without a query encoder.
        """
        gallery = Gallery.open(path, verify=verify)
        try:
            if bundle is None:
                bundle = gallery.bundle_path
                if bundle is None:
                    raise InputError(f"{path}: its bundle is gone, expected at {gallery.manifest['bundle']['path']}")
            if isinstance(bundle, str | Path):
                from fos_jax.encoders.bundle import load_bundle

                bundle = load_bundle(bundle)
            gallery.check_bundle(bundle.fingerprint)
            if not bundle.has_query_encoder:
                raise InputError(f"bundle {bundle.fingerprint}: has no query encoder, expected one that was distilled")
        except InputError:
            gallery.close()
            raise
        return cls(gallery, bundle)

    def close(self) -> None:
        """Closes the gallery's files."""
        self.gallery.close()

    def __enter__(self) -> "ForegroundSearch":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def instances(
        self,
        photo: ImageSource,
        box: Sequence[float],
        category: str,
        *,
        k: int = 20,
        pattern: int | None = None,
        ranking: RankBy = "posterior",
        filters: Filters = _NO_FILTERS,
    ) -> list[Hit]:
        """The k foregrounds that fit best, best first; fewer where there are fewer.

        Args:
          photo: path, encoded bytes, PIL image or uint8 array.
          box: x0, y0, x1, y1 in whole pixels of the upright photograph, half-open.
          category: name of the category.
          k: how many.
          pattern: only foregrounds that are assigned to this pattern.
          ranking: "posterior" (sum over patterns of p(p|q) p(p|f)) or "cosine" (of the embeddings).
          filters: hard limits.

        Raises:
          InputError: an unusable photograph or rectangle, an unknown category, pattern or ranking, or k below 1.
        """
        queries = [SearchQuery(photo, box, category)]
        return self.instances_batch(queries, k=k, pattern=pattern, ranking=ranking, filters=filters)[0]

    def instances_batch(
        self,
        queries: Sequence[SearchQuery],
        *,
        k: int = 20,
        pattern: int | None = None,
        ranking: RankBy = "posterior",
        filters: Filters = _NO_FILTERS,
    ) -> list[list[Hit]]:
        """`instances` for many queries, encoded together; one list of hits per query."""
        encoded = encode_queries(queries, self.bundle)
        return [self.search_encoded(q, k=k, pattern=pattern, ranking=ranking, filters=filters) for q in encoded]

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
        filters: Filters = _NO_FILTERS,
    ) -> list[PatternGroup]:
        """The k most probable patterns of which the gallery has foregrounds, most probable first.

        Args:
          k: how many patterns.
          instances: how many foregrounds to rank inside each.
          representatives: how many foregrounds to show it by.
          Others, and what is raised: as `instances`.
        """
        counts = {"k": k, "instances": instances, "representatives": representatives}
        for name, value in counts.items():
            _check_count(name, value)
        query = encode_queries([SearchQuery(photo, box, category)], self.bundle)[0]
        return probable_groups(self.gallery, self.bundle.prototypes, query, **counts, ranking=ranking, filters=filters)

    def overview(
        self,
        photo: ImageSource,
        box: Sequence[float],
        category: str,
        *,
        total: int = 20,
        coverage_weight: float = COVERAGE_WEIGHT,
        representatives: int = 3,
        filters: Filters = _NO_FILTERS,
    ) -> list[PatternGroup]:
        """A few places shared out over all patterns that may fit, as groups, most probable pattern first.

        Args:
          total: how many foregrounds in all groups together; fewer where there are fewer.
          coverage_weight: what a fitting pattern's first appearance is worth, in fitting foregrounds: 0 shows what
            `instances` shows; see `hits.choose`.
          representatives: how many foregrounds to show each pattern by.
          Others, and what is raised: as `instances`.
        """
        _check_count("total", total)
        _check_count("representatives", representatives)
        if not (np.isfinite(coverage_weight) and coverage_weight >= 0):
            raise InputError(f"coverage_weight: got {coverage_weight!r}, expected a number of 0 or more")
        query = encode_queries([SearchQuery(photo, box, category)], self.bundle)[0]
        return overview_groups(
            self.gallery,
            self.bundle.prototypes,
            query,
            total=total,
            coverage_weight=coverage_weight,
            representatives=representatives,
            filters=filters,
        )

    def similar(
        self, identifier: str, *, k: int = 20, ranking: RankBy = "cosine", filters: Filters = _NO_FILTERS
    ) -> list[Hit]:
        """More like this: the k foregrounds of the same category nearest to one of the gallery, itself left out.

        Raises:
          InputError: an unknown id or ranking, or k below 1.
        """
        _check_count("k", k)
        row = self.gallery.row_of(identifier)
        rows = self.gallery.category(str(self.gallery.metadata.category[row]))
        local = row - rows.start
        allowed = filters.allowed(self.gallery.metadata, rows.rows, None)
        allowed[local] = False
        vector = np.asarray(rows.vectors(ranking)[local])
        return rank_members(rows, np.flatnonzero(allowed), ranking, vector, k, None)

    def score(self, photo: ImageSource, box: Sequence[float], category: str, cutout: ImageSource) -> PairScore:
        """How well a given cut-out, which need not be in the gallery, fits a query.

        Args:
          photo, box, category: as `instances`.
          cutout: RGBA picture as path, encoded bytes, PIL image or uint8 array.

        Raises:
          InputError: an unusable photograph, rectangle or cut-out, or an unknown category.
        """
        query = encode_queries([SearchQuery(photo, box, category)], self.bundle)[0]
        image = prepare_cutout(read_cutout(cutout), self.bundle.foreground_size)
        class_id = np.array([self.table.category_id(category)], np.int32)
        encoding = self.bundle.encode_foregrounds(image[None], class_id, batch_size=1)
        rows = self.gallery.category(category)
        log_posterior = np.asarray(encoding.log_posterior, np.float32)[0, rows.patterns]
        posterior = np.exp(log_posterior)
        score = float(posterior @ query.posterior)
        others = rows.posteriors @ query.posterior
        return PairScore(
            posterior=score,
            cosine=float(np.asarray(encoding.embedding, np.float32)[0] @ query.embedding),
            percentile=float((others < score).mean()) if len(others) else float("nan"),
            pattern=int(rows.patterns[posterior.argmax()]),
            why=explain(query.log_posterior, log_posterior, self.table, patterns=rows.patterns).text,
        )

    def evidence(
        self,
        photo: ImageSource,
        box: Sequence[float],
        category: str,
        pattern: int | None = None,
        *,
        progress: bool = False,
    ) -> Image.Image:
        """The photograph with what speaks for a pattern in red and what speaks against it in blue.

        The parts of the photograph are covered one after another (`explain.evidence.occlusion_map`): some two hundred
        encodings of the query.

        Args:
          photo, box, category: as `instances`.
          pattern: id; the most probable one by default.
          progress: whether to show a progress bar.

        Raises:
          InputError: an unusable photograph or rectangle, or an unknown category or pattern.
        """
        from fos_jax.explain.evidence import evidence_picture, occlusion_map, query_posterior

        query = encode_queries([SearchQuery(photo, box, category)], self.bundle)[0]
        if pattern is None:
            pattern = int(self.gallery.category(category).patterns[query.posterior.argmax()])
        self._check_pattern(pattern, category)
        image, box_norm = prepare_query(query.photo, query.box_xyxy_px, self.bundle.query_size)
        posterior = query_posterior(self.bundle, self.table.category_id(category), progress=progress)
        evidence = occlusion_map(posterior, image, box_norm, [pattern])
        return Image.fromarray(evidence_picture(query.photo, query.box_xyxy_px, evidence, box_norm))

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
        filters: Filters = _NO_FILTERS,
    ) -> list[Hit]:
        """`instances` for a query that is already encoded: the search alone."""
        _check_count("k", k)
        rows = self.gallery.category(query.category)
        vector = query.posterior if ranking == "posterior" else query.embedding
        rows.vectors(ranking)  # refuses unknown names
        if pattern is None and filters.is_empty:
            scores, local = rows.index(ranking).search(vector[None], min(k, max(1, len(rows))))
            return make_hits(rows, local[0], scores[0], ranking, query)
        # ScaNN has no allow-lists: what is restricted is searched exactly.
        allowed = filters.allowed(self.gallery.metadata, rows.rows, query.box_xyxy_px)
        if pattern is not None:
            self._check_pattern(pattern, query.category)
            allowed &= rows.assigned == pattern
        return rank_members(rows, np.flatnonzero(allowed), ranking, vector, k, query)


def _check_count(name: str, value: int) -> None:
    if not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"{name}: got {value!r}, expected a whole number of 1 or more")
