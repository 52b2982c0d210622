"""Figures over seeds: mean and spread, and differences of two methods paired by seed and by query."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fos_jax.evaluation import bootstrap
from fos_jax.experiments.results_file import average_precision

RESAMPLES = 2000


class Spread(NamedTuple):
    """Mean of a figure over seeds, its sample standard deviation (None for one seed) and each seed's value."""

    mean: float
    deviation: float | None
    values: tuple[float, ...]


class SeedDifference(NamedTuple):
    """How much better one method is than another, in fractions of 1.

    Attributes:
      difference: mean over the seeds that both have.
      low, high: interval. probability_above_zero: share of resamples in which the first is better, ties half.
      relative: difference / the other's mean over the same seeds.
      by_seed: seed -> its difference. num_queries: compared in each seed.
    """

    difference: float
    low: float
    high: float
    probability_above_zero: float
    relative: float
    by_seed: dict[int, float]
    num_queries: int


def spread(values: Sequence[float | None]) -> Spread | None:
    """Mean and spread of the values that are there; None where there is none."""
    known = tuple(value for value in values if value is not None)
    if not known:
        return None
    return Spread(float(np.mean(known)), float(np.std(known, ddof=1)) if len(known) > 1 else None, known)


def seed_difference(
    ours: Mapping[int, Mapping[str, Any]], theirs: Mapping[int, Mapping[str, Any]]
) -> SeedDifference | None:
    """`precision_difference` of two methods' rows of cells, seed -> row; None where they share no seed.

    Raises: ValueError where rows that are compared have other queries.
    """
    seeds, category = sorted(set(ours) & set(theirs)), np.array([])
    values: tuple[dict[int, np.ndarray], dict[int, np.ndarray]] = {}, {}
    for s in seeds:
        (values[0][s], names), (values[1][s], other_names) = average_precision(ours[s]), average_precision(theirs[s])
        if not np.array_equal(names, other_names) or (s != seeds[0] and len(names) != len(category)):
            raise ValueError(f"seed {s}: rows of {len(names)} and {len(other_names)} queries, expected the same ones")
        category = names
    return precision_difference(*values, category) if seeds else None


def precision_difference(
    ours: Mapping[int, np.ndarray],
    theirs: Mapping[int, np.ndarray],
    category: np.ndarray,
    *,
    num_resamples: int = RESAMPLES,
) -> SeedDifference:
    """Difference of mAP (mean over categories) between two methods, with its 95 % interval.

    In each resample queries are drawn again inside their category and, apart from them, training seeds; both methods
    get the same draws. So the interval has both sources of chance in it: which queries were asked, and which seeds
    were trained. Three seeds tell little of the second, and with one seed the interval is of queries alone.

    Args:
      ours, theirs: seed -> average precision of each query, float [n], NaN where left out; the same seeds, some.
      category: [n], of the queries. num_resamples: of the bootstrap.

    Source: Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 2007 (rows and columns drawn apart).
    """
    gaps = {s: ours[s] - theirs[s] for s in ours}
    bases = [np.where(np.isnan(ours[s]), np.nan, theirs[s]) for s in ours]  # of the queries that are compared
    resamples = _resamples(tuple(category.tolist()), num_resamples)
    by_query = np.stack([bootstrap.replicate(resamples, gap) for gap in gaps.values()])  # [seeds, r]
    rng, num = np.random.default_rng([0, len(gaps)]), len(gaps)
    times = rng.multinomial(num, np.full(num, 1 / num), size=num_resamples).T  # [seeds, r]
    replicates = (by_query * times).sum(axis=0) / num
    low, high = bootstrap.interval(replicates)
    by_seed = {s: bootstrap.mean(gap, category) for s, gap in gaps.items()}
    difference = float(np.mean(list(by_seed.values())))
    base = float(np.mean([bootstrap.mean(values, category) for values in bases]))
    return SeedDifference(
        difference,
        low,
        high,
        bootstrap.share_above_zero(replicates),
        difference / base if base else float("nan"),
        by_seed,
        int(np.count_nonzero(~np.isnan(next(iter(gaps.values()))))),
    )


@functools.lru_cache(maxsize=4)
def _resamples(category: tuple[Any, ...], num_resamples: int) -> bootstrap.Resamples:
    """Draws that all comparisons on the same queries share: drawing them takes longer than using them."""
    return bootstrap.resample(np.array(category), num_resamples=num_resamples, seed=0)
