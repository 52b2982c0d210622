"""Relevance, rankings and controls on a world small enough to think through."""

import dataclasses

import numpy as np
import pytest
from evaluation_world import make_split, make_table

from fos_jax import metrics
from fos_jax.data.arrays import Pairs
from fos_jax.errors import InputError
from fos_jax.evaluation import controls, scores
from fos_jax.evaluation.conventions import box_aspects, foreground_aspects
from fos_jax.evaluation.measure import measure, measure_fosd
from fos_jax.evaluation.truth import Truth, truth_of

# Two cars queries and one dog query; gallery: cars of patterns 0, 1, 3 and one unknown, dogs of patterns 4, 5.
TRUTH = Truth(
    make_table(),
    query_category=np.array([0, 1, 0]),
    is_compatible=np.array([[1, 1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1, 0, 0], [0, 0, 1, 0, 0, 0, 0, 0]], bool),
    own_foreground=np.array([1, 5, -1]),
    foreground_category=np.array([0, 0, 0, 0, 1, 1]),
    pattern=np.array([0, 1, 3, -1, 4, 5]),
)


def log(probability):
    with np.errstate(divide="ignore"):
        return np.log(np.array(probability, np.float32))


def peaked(patterns, sharpness=0.7):
    """float32 [n, 8]: most mass on each row's pattern, the rest even over its category."""
    table = make_table()
    out = np.zeros((len(patterns), table.num_patterns), np.float32)
    for row, p in enumerate(patterns):
        members = np.flatnonzero(table.category_of_pattern == table.category_of_pattern[p])
        out[row, members] = (1 - sharpness) / len(members)
        out[row, p] += sharpness
    return out


def test_relevance_by_hand():
    car, dog = TRUTH.blocks()
    assert (car.category, list(car.queries), list(car.foregrounds)) == (0, [0, 2], [0, 1, 2, 3])
    assert (dog.category, list(dog.queries), list(dog.foregrounds)) == (1, [1], [4, 5])
    assert TRUTH.relevant(car).tolist() == [[True, True, False, False], [False] * 4]
    assert TRUTH.relevant(dog).tolist() == [[False, True]]


def test_foregrounds_that_differ_in_one_attribute_only_by_hand():
    """Patterns 0 to 3: (yaw, light) = LL, LR, RL, RR. Gallery: LL, LR, RR, unknown. Query 0 fits LL, LR; query 2 RL."""
    car = next(TRUTH.blocks())
    assert TRUTH.differs_only_in(car, "yaw").tolist() == [[True, True, True, False], [True, False, False, False]]
    assert TRUTH.differs_only_in(car, "light").tolist() == [[True, True, False, False], [False, False, True, False]]


def test_query_without_a_relevant_foreground_has_no_value():
    got = measure(controls.chance(TRUTH), TRUTH)
    assert np.isnan(got.by_metric["map"]).tolist() == [False, False, True]
    assert np.isnan(got.by_attribute["car", "yaw"].average_precision).tolist() == [False, True, True]
    assert np.isnan(got.by_attribute["car", "light"].average_precision).all()  # query 0 fits either light


def test_chance_is_exact():
    """Query 1 has one of two dogs: AP 3/4. Query 0 has two of four cars: mean over the six orders."""
    got = measure(controls.chance(TRUTH), TRUTH).by_metric
    orders = [(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)]
    assert got["map"][0] == pytest.approx(np.mean([(1 / a + 2 / b) / 2 for a, b in orders]))
    assert got["map"][1] == pytest.approx(0.75)
    assert got["pattern_top_1"][:2] == pytest.approx([2 / 4, 1 / 2])
    assert got["pattern_top_3"][2] == pytest.approx(3 / 4)


def test_posterior_score_is_the_sum_over_patterns():
    query = log([[0.5, 0.2, 0.2, 0.1, 0, 0, 0, 0], [0, 0, 0, 0, 0.3, 0.7, 0, 0], [0.25] * 4 + [0] * 4])
    foreground = log(peaked([0, 1, 3, 2, 4, 5]))
    ranking = scores.posterior(query, foreground)
    car, dog = TRUTH.blocks()
    expected = np.exp(query) @ np.exp(foreground).T
    np.testing.assert_allclose(ranking.foregrounds(car), expected[np.ix_([0, 2], [0, 1, 2, 3])], rtol=1e-6)
    np.testing.assert_allclose(ranking.foregrounds(dog), expected[np.ix_([1], [4, 5])], rtol=1e-6)
    np.testing.assert_allclose(ranking.patterns(dog), query[1:2, 4:6])


def test_cosine_scores_and_its_patterns():
    rng = np.random.default_rng(0)
    query, foreground, prototypes = (rng.normal(size=(n, 4)).astype(np.float32) for n in (3, 6, 8))
    ranking = scores.cosine(query, foreground, prototypes)
    car = next(TRUTH.blocks())
    np.testing.assert_allclose(ranking.foregrounds(car), query[[0, 2]] @ foreground[:4].T, rtol=1e-6)
    np.testing.assert_allclose(ranking.patterns(car), query[[0, 2]] @ prototypes[:4].T, rtol=1e-6)
    without = measure(scores.cosine(query, foreground), TRUTH).by_metric
    assert "pattern_top_1" not in without


@pytest.mark.parametrize("which", [0, 1])
def test_nan_in_encodings_is_refused_by_name(which):
    arrays = [log(peaked([0, 5, 2])), log(peaked([0, 1, 3, 2, 4, 5]))]
    arrays[which] = arrays[which].copy()
    arrays[which][1, 0] = np.nan
    side = ("query", "foreground")[which]
    with pytest.raises(InputError, match=rf"{side} log posterior: NaN in 1 rows \(first: 1\)"):
        scores.posterior(*arrays)
    with pytest.raises(InputError, match=f"{side} embedding: NaN"):
        scores.cosine(*arrays)


def test_own_foreground_oracle_leaves_out_queries_without_one():
    foreground = log(peaked([0, 1, 3, 2, 4, 5], 0.9))
    got = measure(controls.own_foreground_posterior(TRUTH, foreground), TRUTH).by_metric["map"]
    assert np.isnan(got).tolist() == [False, False, True]
    assert got[1] == 1.0
    # Query 0's own foreground is of pattern 1: the other relevant one ties with the two that are not.
    assert got[0] == pytest.approx((1 + np.mean([2 / 2, 2 / 3, 2 / 4])) / 2)
    one_hot = np.eye(6, dtype=np.float32)
    cosine = measure(controls.own_foreground_cosine(TRUTH, one_hot, np.zeros((8, 6), np.float32)), TRUTH)
    assert cosine.by_metric["reciprocal_rank"][:2].tolist() == [1.0, 1.0]


def test_box_overlap_by_hand():
    """A square in a rectangle twice as wide as high fills half of it; one four times as high as wide, an eighth."""
    ranking = controls.box_overlap(np.array([2.0, 1.0, 0.5]), np.array([1.0, 2.0, 0.25, 4.0, 1.0, 1.0]))
    car, dog = TRUTH.blocks()
    assert ranking.foregrounds(car).tolist() == [[0.5, 1, 0.125, 0.5], [0.5, 0.25, 0.5, 0.125]]
    assert ranking.foregrounds(dog).tolist() == [[1, 1]]
    got = measure(ranking, TRUTH).by_metric
    assert got["map"][0] == pytest.approx((1 + (2 / 2 + 2 / 3) / 2) / 2)  # the other relevant one ties for second
    assert "pattern_top_1" not in got


def test_mask_overlap_with_the_own_foreground_by_hand():
    """Query 0's own foreground is row 1: overlaps 1/3, 1, 2/4, 0 with the cars. Query 2 has none."""
    masks = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]], bool)
    ranking = controls.own_mask_overlap(TRUTH, masks)
    np.testing.assert_allclose(ranking.foregrounds(next(TRUTH.blocks()))[0], [1 / 3, 1, 2 / 4, 0])
    got = measure(ranking, TRUTH).by_metric["map"]
    assert got[:2] == pytest.approx([(1 + 2 / 3) / 2, 0.75])
    assert np.isnan(got[2])


def test_compatible_set_oracle_is_perfect_with_a_perfect_teacher():
    truth = dataclasses.replace(TRUTH, pattern=np.array([0, 1, 3, 2, 4, 5]))
    foreground, prototypes = log(peaked(truth.pattern, 0.99)), np.eye(8, dtype=np.float32)
    for ranking in (
        controls.compatible_set_posterior(truth, foreground),
        controls.compatible_set_cosine(truth, prototypes[truth.pattern], prototypes),
    ):
        got = measure(ranking, truth)
        assert got.by_metric["map"].tolist() == [1, 1, 1]
        assert got.by_metric["pattern_top_1"].tolist() == [1, 1, 1]
        assert np.nanmin(got.by_attribute["car", "yaw"].average_precision) == 1
        assert np.nanmin(got.by_attribute["car", "light"].average_precision) == 1


def test_compatible_set_posterior_is_the_mean_over_members():
    truth = dataclasses.replace(TRUTH, pattern=np.array([0, 0, 1, -1, 4, 5]))
    foreground = log(peaked([0, 1, 1, 2, 4, 5]))
    ranking = controls.compatible_set_posterior(truth, foreground)
    np.testing.assert_allclose(np.exp(ranking.log_posterior[0]), np.exp(foreground[:3]).mean(axis=0), rtol=1e-6)
    assert ranking.has_query.tolist() == [True, True, False]  # no foreground of pattern 2


def test_attribute_accuracy_counts_any_fitting_value_and_leaves_out_what_tells_nothing():
    """Query 0 fits both lights (nothing to tell) and yaw left; query 2 fits yaw right, light left."""
    query = log([[0.1, 0.1, 0.4, 0.4, 0, 0, 0, 0], [0, 0, 0, 0, 0.9, 0.1, 0, 0], [0.1, 0.1, 0.5, 0.3, 0, 0, 0, 0]])
    got = measure(scores.posterior(query, log(peaked([0, 1, 3, 2, 4, 5]))), TRUTH).by_attribute
    np.testing.assert_equal(got["car", "yaw"].accuracy, [0, np.nan, 1])
    np.testing.assert_equal(got["car", "light"].accuracy, [np.nan, np.nan, 1])
    np.testing.assert_equal(got["dog", "pose"].accuracy, [np.nan, 0, np.nan])


def test_measure_agrees_with_a_full_matrix():
    queries, foregrounds, table = make_split(seed=3)
    truth = truth_of(queries, foregrounds, table)
    rng = np.random.default_rng(0)
    query, foreground = (rng.normal(size=(n, 5)).astype(np.float32) for n in (len(queries), len(foregrounds)))
    full = query @ foreground.T
    valid = queries.category[:, None] == foregrounds.category[None, :]
    relevant = queries.is_compatible[:, foregrounds.pattern] & valid
    expected = metrics.rank_relevant(full, relevant, valid)
    got = measure(scores.cosine(query, foreground), truth).by_metric
    np.testing.assert_allclose(got["map"], metrics.average_precision(expected), atol=1e-12)
    np.testing.assert_allclose(got["precision_at_20"], metrics.precision_at_k(expected, 20), atol=1e-12)


def test_labelled_pairs_join_the_patterns_and_what_nobody_judged_is_not_ranked():
    """Query 2 gets foreground 3 as fitting and 0 as not: two ranked. Query 1 gets none: only what fits by pattern."""
    truth = dataclasses.replace(TRUTH, fitting_pairs=Pairs(np.array([0, 0, 0, 1]), np.array([3])))
    car, dog = truth.blocks()
    assert truth.relevant(car).tolist() == [[True, True, False, False], [False, False, False, True]]
    assert truth.judged(car) is None
    truth = dataclasses.replace(truth, unfitting_pairs=Pairs(np.array([0, 1, 1, 2]), np.array([2, 0])))
    assert truth.judged(car).tolist() == [[True, True, True, False], [True, False, False, True]]
    assert truth.judged(dog).tolist() == [[False, True]]
    got = measure(controls.chance(truth), truth).by_metric["map"]
    assert got[1:].tolist() == [1.0, 0.75]
    oracle = controls.compatible_set_posterior(truth, log(peaked([0, 1, 3, 2, 4, 5])))
    assert measure_fosd(oracle, truth, np.ones(3), np.ones(6))["map"] == 100.0


def test_labels_that_do_not_fit_the_table_are_refused():
    queries, foregrounds, table = make_split()
    for changed, field in (
        ((dataclasses.replace(queries, category=queries.category + 3), foregrounds), "queries.category"),
        ((queries, dataclasses.replace(foregrounds, pattern=foregrounds.pattern + 8)), "foregrounds.pattern"),
        (
            (dataclasses.replace(queries, foreground_index=queries.foreground_index + 99), foregrounds),
            "foreground_index",
        ),
        ((dataclasses.replace(queries, is_compatible=queries.is_compatible[:, 1:]), foregrounds), "is_compatible"),
    ):
        with pytest.raises(InputError, match=field):
            truth_of(*changed, table)


def test_aspects_by_hand():
    queries, foregrounds, _ = make_split(num_queries=2, num_foregrounds=9)
    np.testing.assert_allclose(box_aspects(queries), 0.5)
    np.testing.assert_allclose(foreground_aspects(foregrounds.image), 16 / 24)
    assert foreground_aspects(np.zeros((1, 8, 8, 4), np.uint8)).tolist() == [1.0]


def test_fosd_figures_of_a_ranking():
    """Nothing is filtered: the perfect ranking has 100 percent, and cosines below zero are no hindrance."""
    truth = dataclasses.replace(TRUTH, pattern=np.array([0, 1, 3, 2, 4, 5]))
    prototypes = np.eye(8, dtype=np.float32) * 2 - 1
    prototypes /= np.linalg.norm(prototypes, axis=1, keepdims=True)
    ranking = controls.compatible_set_cosine(truth, prototypes[truth.pattern], prototypes)
    got = measure_fosd(ranking, truth, np.ones(3), np.ones(6))
    assert got["map"] == 100.0
    nobody = dataclasses.replace(ranking, has_query=np.zeros(3, bool))
    assert measure_fosd(nobody, truth, np.ones(3), np.ones(6)) is None
