"""The methods of a benchmark run and the rows they give: every ranking of every bundle, chance and the oracles."""

import dataclasses
import time
from collections.abc import Sequence

import jax
import numpy as np
from absl import logging

from fos_jax.data.arrays import Foregrounds, Queries
from fos_jax.encoders.bundle import Bundle, ForegroundEncoding
from fos_jax.errors import InputError
from fos_jax.evaluation import controls, scores
from fos_jax.evaluation.conventions import box_aspects, foreground_aspects
from fos_jax.evaluation.truth import Block, Truth
from fos_jax.rivals.cfo import silhouettes
from fos_jax.rivals.pair_networks import PAIR_NETWORKS
from fos_jax.rivals.pair_scores import PairScorer

OURS, RIVAL, CONTROL, ORACLE = "ours", "rival", "control", "oracle"
COMPATIBLE_SET = "compatible-set oracle"
BOX_OVERLAP, MASK_OVERLAP = "shape (box overlap)", "shape of the own foreground (mask overlap)"


@dataclasses.dataclass(frozen=True)
class EvaluatedModel:
    """A trained model to evaluate, with the split's arrays at the sizes it wants.

    Attributes:
      name: of its rows, e.g. "student".
      bundle: with a query encoder, or features of a classifier (`is_classifier`).
      queries, foregrounds: the split; ids and labels must be the same for all methods.
      kind: "ours", "rival" or "control".
      note: half a sentence for readers.
    """

    name: str
    bundle: Bundle
    queries: Queries
    foregrounds: Foregrounds
    kind: str = RIVAL
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the results: a ranking by one method.

    Attributes:
      name: of the method. ranking: how it scores; empty where there is one way only.
      kind: "ours", "rival", "control" or "oracle". note: half a sentence for readers.
      bundle: fingerprint of the bundle behind it, None for none.
      scorer: the ranking.
    """

    name: str
    ranking: str
    kind: str
    note: str
    bundle: str | None
    scorer: scores.Ranking


def gather_rows(
    main: EvaluatedModel, compare: Sequence[EvaluatedModel], truth: Truth, *, batch_size: int, progress: bool
) -> tuple[list[Row], ForegroundEncoding]:
    """Encodes the split with every bundle and lists all rows: chance, the others, the main one, the oracles.

    A gallery is encoded once for all bundles that hold the same foreground encoder.

    Returns: the rows and the main bundle's encoding of the gallery.
    Raises: InputError where the methods cannot be compared.
    """
    _check_comparable(main, compare)
    rows = [
        Row("chance", "", CONTROL, "no information: the expected value", None, controls.chance(truth)),
        _box_overlap_row(main),
    ]
    known: list[tuple[Bundle, ForegroundEncoding]] = []

    def gallery_of(method: EvaluatedModel) -> ForegroundEncoding:
        for bundle, gallery in known:
            if _is_same_teacher(bundle, method.bundle):
                return gallery
        logging.info("Encoding %d foregrounds for %s", len(method.foregrounds), method.name)
        gallery = method.bundle.encode_foregrounds(
            method.foregrounds.image, method.foregrounds.category, batch_size=batch_size, progress=progress
        )
        known.append((method.bundle, gallery))
        return gallery

    for method in (*compare, main):
        if is_classifier(method.bundle):
            rows += _classifier_rows(method, truth, gallery_of(method))
        elif method.bundle.has_query_encoder:
            rows += _method_rows(method, truth, gallery_of(method), batch_size=batch_size, progress=progress)
    gallery = gallery_of(main)
    if is_classifier(main.bundle):
        return rows, gallery
    return [*rows, _mask_overlap_row(main, truth), *_oracle_rows(main, truth, gallery)], gallery


def is_classifier(bundle: Bundle) -> bool:
    """Whether a bundle's foreground encoder learnt categories alone: a control, not a teacher."""
    return bundle.config.get("labels", "patterns") == "categories"


def _is_same_teacher(a: Bundle, b: Bundle) -> bool:
    if a.config.foreground != b.config.foreground:
        return False
    leaves = [jax.tree.leaves(bundle.variables["foreground"]) for bundle in (a, b)]
    return len(leaves[0]) == len(leaves[1]) and all(map(np.array_equal, *leaves))


def _check_comparable(main: EvaluatedModel, compare: Sequence[EvaluatedModel]) -> None:
    fingerprint = main.bundle.table.fingerprint()
    names = [main.name, *(method.name for method in compare), "chance", BOX_OVERLAP, MASK_OVERLAP]
    for method in compare:
        if names.count(method.name) > 1 or "oracle" in method.name:
            raise InputError(f"compare: {method.name!r} is taken, expected another name")
        if method.bundle.table.fingerprint() != fingerprint:
            raise InputError(f"compare: {method.name} was trained with another pattern table than {main.name}")
        if not (method.bundle.has_query_encoder or is_classifier(method.bundle)):
            raise InputError(f"compare: {method.name} has no query encoder, expected one that was distilled")
        for what in ("queries", "foregrounds"):
            if not np.array_equal(getattr(method, what).ids, getattr(main, what).ids):
                raise InputError(f"compare: {what} of {method.name} are not those of {main.name}")


def _method_rows(
    method: EvaluatedModel, truth: Truth, gallery: ForegroundEncoding, *, batch_size: int, progress: bool
) -> list[Row]:
    queries = method.queries
    logging.info("Encoding %d queries for %s", len(queries), method.name)
    encoded = method.bundle.encode_queries(
        queries.image, queries.box_yxyx_norm, queries.category, batch_size=batch_size, progress=progress
    )
    rankings = {scores.COSINE: scores.cosine(encoded.embedding, gallery.embedding, method.bundle.prototypes)}
    for ranking, log_posterior in (
        (scores.FLAT, encoded.log_posterior_flat),
        (scores.FACTORISED, encoded.log_posterior_factorised),
        (scores.BOTH, None if encoded.log_posterior_factorised is None else encoded.log_posterior_both),
    ):
        if log_posterior is not None:
            rankings[ranking] = scores.posterior(log_posterior, gallery.log_posterior)
    rankings |= pair_rankings(method, truth, batch_size=batch_size, progress=progress)
    fingerprint = method.bundle.fingerprint
    return [Row(method.name, ranking, method.kind, method.note, fingerprint, r) for ranking, r in rankings.items()]


def pair_rankings(
    method: EvaluatedModel, truth: Truth, *, batch_size: int, progress: bool
) -> dict[str, scores.Ranking]:
    """Network that judges pairs -> its ranking, for each one in a method's bundle (an interaction, a discriminator).

    Each pair costs a pass of that network, so the scores are computed once and looked up by all that measures them.
    """
    bundle, queries, foregrounds = method.bundle, method.queries, method.foregrounds
    rankings = {}
    for name in (name for name in PAIR_NETWORKS if name in bundle.variables):
        scorer, variables = PairScorer(name, bundle.config, bundle.table), bundle.variables
        of_queries = scorer.queries(
            variables, queries.image, queries.box_yxyx_norm, queries.category, batch_size=batch_size
        )
        of_foregrounds = scorer.foregrounds(variables, foregrounds.image, foregrounds.category, batch_size=batch_size)
        first = np.zeros(1, int)
        scorer.scores(variables, _rows(of_queries, first), _rows(of_foregrounds, first))  # compiles
        start, found = time.perf_counter(), {}
        for block in truth.blocks():
            found[block.category] = (
                block,
                scorer.scores(
                    variables,
                    _rows(of_queries, block.queries),
                    _rows(of_foregrounds, block.foregrounds),
                    description=f"{method.name}, {name}, {truth.table.categories[block.category]}" if progress else "",
                ),
            )
        seconds = time.perf_counter() - start
        rankings[name] = looked_up(found, ranking_ms=1000 * seconds / len(truth.query_category))
    return rankings


def _rows(arrays: tuple[np.ndarray, ...], chosen: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(array[chosen] for array in arrays)


def looked_up(found: dict[int, tuple[Block, np.ndarray]], *, ranking_ms: float | None = None) -> scores.Ranking:
    """A ranking by scores that are there: category -> its whole block (rows ascending) and float32 [q, g]."""

    def foregrounds(block: Block) -> np.ndarray:
        whole, table = found[block.category]
        query = np.searchsorted(whole.queries, block.queries)
        return table[np.ix_(query, np.searchsorted(whole.foregrounds, block.foregrounds))]

    lowest = min((float(table.min()) for _, table in found.values() if table.size), default=0.0)
    return scores.Ranking(foregrounds, lowest=lowest, ranking_ms=ranking_ms)


def _box_overlap_row(main: EvaluatedModel) -> Row:
    ranking = controls.box_overlap(box_aspects(main.queries), foreground_aspects(main.foregrounds.image))
    return Row(BOX_OVERLAP, "", CONTROL, "how much of the rectangle the foreground's bounding box fills", None, ranking)


def _mask_overlap_row(main: EvaluatedModel, truth: Truth) -> Row:
    masks = silhouettes(main.foregrounds.image, np.arange(len(main.foregrounds)))
    note = "overlap with the silhouette of the removed object, itself in the gallery"
    return Row(MASK_OVERLAP, "", ORACLE, note, None, controls.own_mask_overlap(truth, masks))


def _classifier_rows(method: EvaluatedModel, truth: Truth, gallery: ForegroundEncoding) -> list[Row]:
    rankings = {
        scores.COSINE: controls.own_foreground_cosine(truth, gallery.embedding, method.bundle.prototypes),
        scores.FLAT: controls.own_foreground_posterior(truth, gallery.log_posterior),
    }
    note = "a classifier of categories that sees the removed object, itself in the gallery"
    return [Row(method.name, name, CONTROL, note, method.bundle.fingerprint, r) for name, r in rankings.items()]


def _oracle_rows(main: EvaluatedModel, truth: Truth, gallery: ForegroundEncoding) -> list[Row]:
    prototypes = main.bundle.prototypes
    rankings = {
        "own-foreground oracle": (
            "the teacher sees the removed object, itself in the gallery",
            controls.own_foreground_cosine(truth, gallery.embedding, prototypes),
            controls.own_foreground_posterior(truth, gallery.log_posterior),
        ),
        COMPATIBLE_SET: (
            "the teacher is told the compatible patterns",
            controls.compatible_set_cosine(truth, gallery.embedding, prototypes),
            controls.compatible_set_posterior(truth, gallery.log_posterior),
        ),
    }
    return [
        Row(name, ranking, ORACLE, note, main.bundle.fingerprint, scorer)
        for name, (note, *scorers) in rankings.items()
        for ranking, scorer in zip((scores.COSINE, "posterior"), scorers, strict=True)
    ]
