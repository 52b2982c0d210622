"""Foreground object search: instances, patterns, more like this, a score for a pair.

search = ForegroundSearch.open("runs/demo/gallery")
groups = search.patterns("street.jpg", box=(410, 220, 640, 380), category="car", k=3)
hits = search.instances("street.jpg", box=(410, 220, 640, 380), category="car", k=20, pattern=groups[1].id)
hits[0].composite().save("out.png")
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from PIL import Image

from fos_jax.boxes import check_box_xyxy_px
from fos_jax.errors import InputError
from fos_jax.experts.loading import SHIPPED
from fos_jax.explain.reasons import explain
from fos_jax.gallery.foregrounds import class_id
from fos_jax.gallery.gallery import Gallery
from fos_jax.gallery.snapshot import RankBy, Snapshot
from fos_jax.images import ImageSource, read_cutout, read_image, visible_box_xyxy_px
from fos_jax.retrieval.groups import COVERAGE_WEIGHT, PatternGroup, overview_groups, probable_groups
from fos_jax.retrieval.hits import Hit, PairScore, find_hits
from fos_jax.retrieval.queries import EncodedQuery, ForegroundAsQuery, SearchQuery, encode_queries
from fos_jax.retrieval.rules import NO_FILTERS, Filters, Place, Refusal, rectangle_phrase, refused

Found = TypeVar("Found")


class ForegroundSearch:
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

        Raises:
          InputError: an unusable photograph or rectangle, an unknown category, pattern, ranking or expert, a weight
            that is no number of 0 or more, or k below 1.
        """
        queries = [SearchQuery(photo, box, category)]
        return self.instances_batch(queries, k=k, pattern=pattern, ranking=ranking, weights=weights, filters=filters)[0]

    def instances_batch(
        self,
        queries: Sequence[SearchQuery],
        *,
        k: int = 20,
        pattern: int | None = None,
        ranking: RankBy = "posterior",
        weights: Mapping[str, float] | None = None,
        filters: Filters = NO_FILTERS,
    ) -> list[list[Hit]]:
        """`instances` for many queries, encoded together; one list of hits per query."""
        encoded = encode_queries(queries, self.bundle, weights=weights)
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
        weights: Mapping[str, float] | None = None,
        filters: Filters = NO_FILTERS,
    ) -> list[PatternGroup]:
        """The k most probable patterns of which the gallery has foregrounds, most probable first.

        Of a category without patterns all foregrounds are one group.

        Args:
          k: how many patterns.
          instances: how many foregrounds to rank inside each.
          representatives: how many foregrounds to show it by.
          Others, and what is raised: as `instances`.
        """
        counts = {"k": k, "instances": instances, "representatives": representatives}
        for name, value in counts.items():
            _check_count(name, value)
        query, limits = self._encode(photo, box, category, weights), self._limits(filters)

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
        _check_count("total", total)
        _check_count("representatives", representatives)
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
        _check_count("k", k)
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

    def score(
        self,
        photo: ImageSource,
        box: Sequence[float],
        category: str,
        cutout: ImageSource,
        *,
        truncated: tuple[str, ...] | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> PairScore:
        """How well a given cut-out, which need not be in the gallery, fits a query.

        Args:
          photo, box, category, weights: as `instances`.
          cutout: RGBA picture as path, encoded bytes, PIL image or uint8 array.
          truncated: sides at which its photograph cut it, of `boxes.SIDES`; None where unknown.

        Raises:
          InputError: an unusable photograph, rectangle or cut-out, or an unknown category.
        """
        query = self._encode(photo, box, category, weights)
        rgba = read_cutout(cutout)
        x0, y0, x1, y1 = visible_box_xyxy_px(rgba)
        inputs = self.bundle.foreground_inputs(rgba[y0:y1, x0:x1], truncated)
        number = np.array([class_id(category, self.bundle)], np.int32)
        encoding = self.bundle.encode_foregrounds(*(value[None] for value in inputs), number, batch_size=1)
        rows = self.gallery.category(category)
        log_posterior = np.asarray(encoding.log_posterior, np.float32)[0, rows.patterns]
        posterior = np.exp(log_posterior)
        experts = {
            name: query.weights[name] * float(np.asarray(encoding.experts[name], np.float32)[0] @ query.experts[name])
            for name in self.gallery.experts
        }
        of_patterns = float(posterior @ query.posterior)
        score = sum(experts.values(), of_patterns)
        others = (rows.vectors("posterior") @ rows.query_vector(query, "posterior"))[rows.is_live]
        reason = explain(
            query.log_posterior,
            log_posterior,
            self.table,
            patterns=rows.patterns,
            category=category,
            experts=experts,
            notes={"geometry": rectangle_phrase(query.place)},
        )
        return PairScore(
            score=score,
            posterior=of_patterns,
            cosine=float(np.asarray(encoding.embedding, np.float32)[0] @ query.embedding),
            percentile=float((others < score).mean()) if len(others) else float("nan"),
            pattern=int(rows.patterns[posterior.argmax()]) if len(posterior) else -1,
            parts=reason.parts,
            why=reason.text,
        )

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
    ) -> list[Hit]:
        """`instances` for a query that is already encoded, which carries its weights: the search alone."""
        _check_count("k", k)
        limits = self._limits(filters)
        if pattern is not None:
            self._check_pattern(pattern, query.category)

        def find(state: Snapshot) -> list[Hit]:
            rows = state.category(query.category, mirror=limits.mirror)
            allowed = None if limits.is_empty else limits.allowed(rows, query.place)
            vector = rows.query_vector(query, ranking)
            return find_hits(rows, vector, ranking, k, query, allowed=allowed, pattern=pattern)

        return self._look(find, query.category, limits, query.place)


def _check_count(name: str, value: int) -> None:
    if not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"{name}: got {value!r}, expected a whole number of 1 or more")
