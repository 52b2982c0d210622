"""Per-query figures of one ranking, calibration of its posterior, and accuracy of the teacher's patterns."""

import concurrent.futures
import dataclasses
import os

import numpy as np

from fos_jax import metrics
from fos_jax.evaluation import conventions
from fos_jax.evaluation.scores import Ranking
from fos_jax.evaluation.truth import Block, Truth

THREADS = min(4, os.cpu_count() or 1)  # categories at a time; each holds its own scores
HEADLINE = "map"
PRECISION_AT = (1, 5, 10, 20)
RECALL_AT = (20, 100)
METRICS = (
    HEADLINE,
    "map_at_20",
    "map_at_100",
    *(f"precision_at_{k}" for k in PRECISION_AT),
    *(f"recall_at_{k}" for k in RECALL_AT),
    "reciprocal_rank",
    "ndcg",
    "pattern_top_1",
    "pattern_top_3",
)


@dataclasses.dataclass(frozen=True)
class AttributeFigures:
    """One attribute of one category; NaN for other categories' queries and where there is nothing to tell apart.

    Attributes:
      accuracy: float64 [Q], 1 where the value with the highest posterior marginal is one that fits, 0 where it is not,
        NaN where every value fits; None where the ranking has no posterior.
      average_precision: float64 [Q], of the same scores among the foregrounds that fit in every *other* attribute:
        what is left to get right is this one. NaN where all of them are relevant, or none.
    """

    accuracy: np.ndarray | None
    average_precision: np.ndarray


@dataclasses.dataclass(frozen=True)
class Figures:
    """What one ranking reaches at each query.

    Attributes:
      by_metric: name in `METRICS` -> float64 [Q], NaN where the query has no value (no relevant foreground, or the
        method has nothing to rank it by); metrics that the method cannot have are missing.
      by_attribute: (category name, attribute name) -> its figures.
    """

    by_metric: dict[str, np.ndarray]
    by_attribute: dict[tuple[str, str], AttributeFigures]


def measure(ranking: Ranking, truth: Truth) -> Figures:
    """Ranks each category's gallery for each of its queries and measures (fractions, never percent).

    Raises: InputError where a score is NaN, naming the category.
    """
    num_queries = len(truth.query_category)
    by_metric = {name: np.full(num_queries, np.nan) for name in METRICS}
    if ranking.patterns is None:
        del by_metric["pattern_top_1"], by_metric["pattern_top_3"]

    def of_category(block: Block) -> dict[tuple[str, str], AttributeFigures]:
        if ranking.has_query is not None:
            block = dataclasses.replace(block, queries=block.queries[ranking.has_query[block.queries]])
        scores = ranking.foregrounds(block)
        for name, values in _of_foregrounds(
            metrics.rank_relevant(scores, truth.relevant(block), truth.judged(block))
        ).items():
            by_metric[name][block.queries] = values
        if ranking.patterns is not None:
            compatible = truth.is_compatible[np.ix_(block.queries, block.patterns)]
            ranks = metrics.rank_relevant(ranking.patterns(block), compatible)
            by_metric["pattern_top_1"][block.queries] = metrics.hit_rate_at_k(ranks, 1)
            by_metric["pattern_top_3"][block.queries] = metrics.hit_rate_at_k(ranks, 3)
        name = truth.table.categories[block.category]
        return {(name, a): _of_attribute(a, block, scores, ranking, truth) for a in truth.attributes(block)}

    by_attribute: dict[tuple[str, str], AttributeFigures] = {}
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:  # sorting releases the interpreter lock
        for figures in pool.map(of_category, truth.blocks()):  # each writes its own queries' rows
            by_attribute |= figures
    return Figures(by_metric, by_attribute)


def measure_fosd(
    ranking: Ranking, truth: Truth, box_aspect: np.ndarray, foreground_aspect: np.ndarray
) -> dict[str, float] | None:
    """The same ranking by FOSD's convention of test set 2: percent, see `conventions.fosd_set2_category`.

    Args:
      ranking: how to score; cosines are moved by 1 so that none is negative.
      truth: labels; queries without a relevant foreground are left out, as FOSD has none.
      box_aspect: float [Q], width / height. foreground_aspect: float [G].

    Returns: unweighted means over categories; None where no query can be counted.
    """
    categories = {}
    for block in truth.blocks():
        judged = truth.judged(block)
        if judged is not None:  # in FOSD all queries of a category list the same foregrounds
            block = dataclasses.replace(block, foregrounds=block.foregrounds[judged.any(axis=0)])
        relevant = truth.relevant(block)
        counted = np.asarray(relevant.any(axis=1))
        if ranking.has_query is not None:
            counted &= ranking.has_query[block.queries]
        if not counted.any():
            continue
        block = dataclasses.replace(block, queries=block.queries[counted])
        scores = ranking.foregrounds(block) - np.float32(ranking.lowest)
        categories[str(block.category)] = conventions.fosd_set2_category(
            np.maximum(scores, 0),  # a cosine may fall below -1 by rounding
            relevant[counted],
            box_aspect[block.queries],
            foreground_aspect[block.foregrounds],
        )
    return conventions.fosd_overall(categories) if categories else None


def query_calibration(log_posterior: np.ndarray, truth: Truth, *, num_bins: int = 15) -> dict[str, float | int | None]:
    """Negative log-likelihoods (nats) and calibration error of p(pattern | query), float32 [Q, P] log-probabilities.

    A query fits several patterns, and its original object is of one of them. So a posterior is asked two things:
    `nll_compatible` = -log of the total probability of the compatible patterns (0 is perfect), and `nll_own` = -log of
    the original object's pattern (cannot be 0 where several fit). `calibration_error` is the expected calibration
    error of the top pattern being the original object's, in `num_bins` equal bins of confidence: there, confidence
    1/2 with two equally good patterns is as it should be. The last two are None without original objects.

    Source: Guo et al., "On calibration of modern neural networks", ICML 2017 (the error).
    """
    probability = np.exp(log_posterior.astype(np.float64))
    has_compatible = truth.is_compatible.any(axis=1)
    mass = np.where(truth.is_compatible, probability, 0).sum(axis=1)[has_compatible]
    own = np.where(truth.own_foreground >= 0, truth.pattern[np.maximum(truth.own_foreground, 0)], -1)
    rows = np.flatnonzero(own >= 0)
    smallest = np.finfo(np.float64).tiny
    out: dict[str, float | int | None] = {
        "nll_compatible": float(np.mean(-np.log(np.maximum(mass, smallest)))) if len(mass) else None,
        "nll_own": None,
        "calibration_error": None,
        "num_bins": num_bins,
        "num_queries_with_own": len(rows),
    }
    if len(rows):
        out["nll_own"] = float(np.mean(-np.log(np.maximum(probability[rows, own[rows]], smallest))))
        top = probability[rows].argmax(axis=1)
        out["calibration_error"] = calibration_error(probability[rows, top], top == own[rows], num_bins=num_bins)
    return out


def calibration_error(confidence: np.ndarray, is_right: np.ndarray, *, num_bins: int = 15) -> float:
    """Mean over predictions of |share right - mean confidence| of the prediction's bin.

    Args:
      confidence: float [n] in 0..1. is_right: bool [n]. num_bins: equal bins of 0..1.
    """
    bins = np.minimum((np.clip(confidence, 0, 1) * num_bins).astype(int), num_bins - 1)
    gap = np.bincount(bins, weights=np.asarray(is_right, float) - confidence, minlength=num_bins)
    return float(np.abs(gap).sum() / len(bins))


def gallery_accuracy(log_posterior: np.ndarray, truth: Truth) -> dict[str, object]:
    """Share of gallery foregrounds whose pattern, and each attribute of it, the teacher names right.

    Args:
      log_posterior: float32 [G, P], the teacher's p(pattern | foreground). truth: labels.

    Returns: `pattern` (mean over categories), `by_category`, `by_attribute` (category -> attribute -> accuracy of the
    most probable value) and `num_foregrounds`, counting foregrounds of known pattern only.
    """
    table = truth.table
    by_category: dict[str, float] = {}
    by_attribute: dict[str, dict[str, float]] = {}
    count = 0
    for category, name in enumerate(table.categories):
        rows = np.flatnonzero((truth.foreground_category == category) & (truth.pattern >= 0))
        if not len(rows):
            continue
        count += len(rows)
        by_category[name] = float((log_posterior[rows].argmax(axis=1) == truth.pattern[rows]).mean())
        marginal = np.exp(log_posterior[rows].astype(np.float64)) @ table.has_value  # [n, V]
        is_true = table.has_value[truth.pattern[rows]]  # [n, V]
        by_attribute[name] = {}
        for attribute in table.attributes.get(name, {}):
            columns = [i for i, key in enumerate(table.attribute_values) if key[:2] == (name, attribute)]
            named = marginal[:, columns].argmax(axis=1)
            by_attribute[name][attribute] = float(is_true[:, columns][np.arange(len(rows)), named].mean())
    mean = float(np.mean(list(by_category.values()))) if by_category else None
    return {"pattern": mean, "by_category": by_category, "by_attribute": by_attribute, "num_foregrounds": count}


def _of_foregrounds(ranks: metrics.RelevantRanks) -> dict[str, np.ndarray]:
    return {
        HEADLINE: metrics.average_precision(ranks),
        "map_at_20": metrics.average_precision(ranks, at=20),
        "map_at_100": metrics.average_precision(ranks, at=100),
        **{f"precision_at_{k}": metrics.precision_at_k(ranks, k) for k in PRECISION_AT},
        **{f"recall_at_{k}": metrics.recall_at_k(ranks, k) for k in RECALL_AT},
        "reciprocal_rank": metrics.reciprocal_rank(ranks),
        "ndcg": metrics.ndcg(ranks),
    }


def _of_attribute(attribute: str, block: Block, scores: np.ndarray, ranking: Ranking, truth: Truth) -> AttributeFigures:
    value = truth.value_of_pattern(block, attribute)  # [p]
    has_value = np.eye(int(value.max(initial=-1)) + 1, dtype=np.float32)[value]  # [p, values]
    valid, relevant, judged = truth.differs_only_in(block, attribute), truth.relevant(block), truth.judged(block)
    valid = valid if judged is None else valid & judged
    precision = np.full(len(truth.query_category), np.nan)
    average = metrics.average_precision(metrics.rank_relevant(scores, relevant, valid))
    precision[block.queries] = np.where((valid & ~relevant).any(axis=1), average, np.nan)
    if ranking.log_posterior is None:
        return AttributeFigures(None, precision)
    compatible = truth.is_compatible[np.ix_(block.queries, block.patterns)]
    exists = has_value.any(axis=0)  # a value that no pattern has is no choice
    fits = (compatible.astype(np.float32) @ has_value > 0)[:, exists]  # [q, values]
    is_told = fits.any(axis=1) & ~fits.all(axis=1)
    told = block.queries[is_told]
    accuracy = np.full_like(precision, np.nan)
    marginal = np.exp(ranking.log_posterior[np.ix_(told, block.patterns)]) @ has_value[:, exists]  # [told, values]
    # Rounded: sums of equal posteriors in another order are ties, not a preference.
    accuracy[told] = metrics.hit_rate_at_k(metrics.rank_relevant(np.round(marginal, 6), fits[is_told]), 1)
    return AttributeFigures(accuracy, precision)
