"""Bootstrap: by hand, against an explicit loop and against scipy, and what must hold."""

import numpy as np
import pytest
import scipy.stats

from fos_jax.evaluation import bootstrap

CATEGORY = np.array([0, 0, 0, 2, 2])
VALUES = np.array([0.0, 0.5, 1.0, 0.2, np.nan])


def test_means_by_hand():
    assert bootstrap.mean(VALUES, CATEGORY) == pytest.approx((0.5 + 0.2) / 2)
    assert bootstrap.mean(VALUES, CATEGORY, over=bootstrap.OVER_QUERIES) == pytest.approx(1.7 / 4)
    assert np.isnan(bootstrap.mean(np.full(5, np.nan), CATEGORY))


def test_each_category_keeps_its_number_of_queries_and_draws_repeat():
    resamples = bootstrap.resample(CATEGORY, num_resamples=50, seed=3)
    assert [list(rows) for rows in resamples.queries] == [[0, 1, 2], [3, 4]]
    assert [set(times.sum(axis=1)) for times in resamples.times] == [{3.0}, {2.0}]
    again = bootstrap.resample(CATEGORY, num_resamples=50, seed=3)
    other = bootstrap.resample(CATEGORY, num_resamples=50, seed=4)
    assert (again.times[0] == resamples.times[0]).all()
    assert (other.times[0] != resamples.times[0]).any()


@pytest.mark.parametrize("over", [bootstrap.OVER_CATEGORIES, bootstrap.OVER_QUERIES])
def test_replicates_against_an_explicit_loop(over):
    resamples = bootstrap.resample(CATEGORY, num_resamples=40, seed=0)
    got = bootstrap.replicate(resamples, VALUES, over=over)
    for r in range(40):
        rows = np.concatenate(
            [np.repeat(q, t[r].astype(int)) for q, t in zip(resamples.queries, resamples.times, strict=True)]
        )
        assert got[r] == pytest.approx(bootstrap.mean(VALUES[rows], CATEGORY[rows], over=over))


def test_interval_agrees_with_scipy_in_one_category():
    values = np.random.default_rng(0).beta(2, 5, size=200)
    resamples = bootstrap.resample(np.zeros(200, int), num_resamples=5000, seed=1)
    low, high = bootstrap.interval(bootstrap.replicate(resamples, values))
    oracle = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=5000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    width = oracle.high - oracle.low
    assert low == pytest.approx(oracle.low, abs=0.06 * width)
    assert high == pytest.approx(oracle.high, abs=0.06 * width)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(5)
    category = np.repeat([0, 1], 40)
    covered = 0
    for seed in range(200):
        values = rng.normal(np.where(category == 0, 1.0, 3.0), 1.0)
        low, high = bootstrap.interval(
            bootstrap.replicate(bootstrap.resample(category, num_resamples=300, seed=seed), values), level=0.9
        )
        covered += low <= 2.0 <= high
    assert 0.82 <= covered / 200 <= 0.96


def test_paired_difference_sees_what_separate_intervals_cannot():
    rng = np.random.default_rng(0)
    hard = rng.random(100)
    a, b = np.clip(hard + 0.02, 0, 1), hard
    category = np.repeat([0, 1], 50)
    resamples = bootstrap.resample(category)
    got = bootstrap.paired_difference(resamples, a, b, category)
    assert got.low > 0
    assert got.probability_above_zero == 1.0
    assert got.num_queries == 100
    (low_a, _), (_, high_b) = (bootstrap.interval(bootstrap.replicate(resamples, v)) for v in (a, b))
    assert low_a < high_b
    mirrored = bootstrap.paired_difference(resamples, b, a, category)
    assert mirrored.difference == pytest.approx(-got.difference)
    same = bootstrap.paired_difference(resamples, a, a, category)
    assert (same.difference, same.probability_above_zero) == (0, 0.5)


def test_without_values_there_is_no_interval():
    resamples = bootstrap.resample(CATEGORY)
    assert np.isnan(bootstrap.interval(bootstrap.replicate(resamples, np.full(5, np.nan)))).all()
    got = bootstrap.paired_difference(resamples, np.full(5, np.nan), VALUES, CATEGORY)
    assert np.isnan(got.difference)
    assert got.num_queries == 0
