"""Bootstrap confidence intervals over queries, stratified by category.

Queries are drawn again with replacement inside each category, since a data set fixes how many a category has. The
same draws serve every metric and method, so a difference of two methods is a paired one.
Source: Efron & Tibshirani, "An Introduction to the Bootstrap", 1993 (percentile intervals); Sakai, "Evaluating
evaluation metrics based on the bootstrap", SIGIR 2006 (paired differences over queries). Not `scipy.stats.bootstrap`:
it has no strata, and one matrix product over shared draws serves hundreds of figures.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

OVER_CATEGORIES = "categories"
OVER_QUERIES = "queries"


@dataclasses.dataclass(frozen=True)
class Resamples:
    """How often each query was drawn.

    Attributes:
      queries: for each category that has queries, int [n_c]: its rows.
      times: for each of them, float64 [r, n_c]: times each row was drawn in each of r resamples.
    """

    queries: tuple[np.ndarray, ...]
    times: tuple[np.ndarray, ...]


class PairedDifference(NamedTuple):
    """How much better one method is than another on the same queries.

    Attributes:
      difference: mean of first minus second.
      low, high: its interval.
      probability_above_zero: share of resamples in which the first is better, ties half.
      num_queries: those that both have a value for.
    """

    difference: float
    low: float
    high: float
    probability_above_zero: float
    num_queries: int


def resample(category: np.ndarray, *, num_resamples: int = 1000, seed: int = 0) -> Resamples:
    """Draws resamples of queries with the given class ids (int [n]), each category with as many as it has."""
    rng = np.random.default_rng(seed)
    queries, times = [], []
    for c in np.unique(category):
        rows = np.flatnonzero(category == c)
        queries.append(rows)
        times.append(rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=num_resamples).astype(float))
    return Resamples(tuple(queries), tuple(times))


def mean(values: np.ndarray, category: np.ndarray, *, over: str = OVER_CATEGORIES) -> float:
    """Mean of the values that are not NaN; NaN where there is none.

    Args:
      values: float [n]. category: int [n].
      over: "categories": the unweighted mean of the categories' means; "queries": the plain mean.
    """
    is_known = ~np.isnan(values)
    if not is_known.any():
        return float("nan")
    if over == OVER_QUERIES:
        return float(values[is_known].mean())
    return float(np.mean([values[is_known & (category == c)].mean() for c in np.unique(category[is_known])]))


def replicate(resamples: Resamples, values: np.ndarray, *, over: str = OVER_CATEGORIES) -> np.ndarray:
    """float64 [r]: the mean (see `mean`) in each resample; a resample without any value is NaN."""
    totals, counts = [], []
    for rows, times in zip(resamples.queries, resamples.times, strict=True):
        is_known = ~np.isnan(values[rows])
        if is_known.any():
            totals.append(times[:, is_known] @ values[rows][is_known])
            counts.append(times[:, is_known].sum(axis=1))
    if not totals:
        return np.full(len(resamples.times[0]) if resamples.times else 0, np.nan)
    total, count = np.stack(totals), np.stack(counts)  # [categories, r]
    if over == OVER_QUERIES:
        total, count = total.sum(axis=0, keepdims=True), count.sum(axis=0, keepdims=True)
    has_any = count > 0
    means = np.divide(total, count, out=np.zeros_like(total), where=has_any)
    num_categories = has_any.sum(axis=0)
    return np.divide(means.sum(axis=0), num_categories, out=np.full(total.shape[1], np.nan), where=num_categories > 0)


def interval(replicates: np.ndarray, *, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of float64 [r] replicates; NaN where there is no replicate."""
    known = replicates[~np.isnan(replicates)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def share_above_zero(replicates: np.ndarray) -> float:
    """Share of float64 [r] replicates above zero, ties half; NaN where there is no replicate."""
    known = replicates[~np.isnan(replicates)]
    return float(np.mean((known > 0) + 0.5 * (known == 0))) if len(known) else float("nan")


def paired_difference(
    resamples: Resamples,
    a: np.ndarray,
    b: np.ndarray,
    category: np.ndarray,
    *,
    over: str = OVER_CATEGORIES,
    level: float = 0.95,
) -> PairedDifference:
    """Difference a - b of two methods' values (float [n] each) on the queries that both have a value for."""
    gap = np.asarray(a, float) - np.asarray(b, float)
    replicates = replicate(resamples, gap, over=over)
    low, high = interval(replicates, level=level)
    above, num_queries = share_above_zero(replicates), int(np.count_nonzero(~np.isnan(gap)))
    return PairedDifference(mean(gap, category, over=over), low, high, above, num_queries)
