"""Ranking metrics: values by hand, a naive loop and scikit-learn as oracles, properties."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import average_precision_score, ndcg_score

from fos_jax import metrics
from fos_jax.errors import InputError

ALL = {
    "ap": metrics.average_precision,
    "ap@2": lambda r: metrics.average_precision(r, at=2),
    "p@2": lambda r: metrics.precision_at_k(r, 2),
    "r@2": lambda r: metrics.recall_at_k(r, 2),
    "hit@2": lambda r: metrics.hit_rate_at_k(r, 2),
    "rr": metrics.reciprocal_rank,
    "ndcg": metrics.ndcg,
    "ndcg@2": lambda r: metrics.ndcg(r, at=2),
}


def naive(relevant_in_order):
    """Every metric of one ranked list by the textbook."""
    hits, precisions, top, out = 0, [], 0, {}
    total, n = sum(relevant_in_order), len(relevant_in_order)
    gain = ideal = gain_2 = ideal_2 = 0.0
    for rank, is_relevant in enumerate(relevant_in_order, 1):
        if is_relevant:
            hits += 1
            precisions.append((rank, hits / rank))
            gain += 1 / np.log2(1 + rank)
            gain_2 += (rank <= 2) / np.log2(1 + rank)
        if rank <= total:
            ideal += 1 / np.log2(1 + rank)
            ideal_2 += (rank <= 2) / np.log2(1 + rank)
        if rank == min(2, n):
            top = hits
    out["ap"] = sum(p for _, p in precisions) / total
    out["ap@2"] = sum(p for rank, p in precisions if rank <= 2) / min(2, total)
    out["p@2"], out["r@2"], out["hit@2"] = top / min(2, n), top / total, float(top > 0)
    out["rr"] = 1 / precisions[0][0]
    out["ndcg"], out["ndcg@2"] = gain / ideal, gain_2 / ideal_2
    return out


def one(scores, relevant):
    ranks = metrics.rank_relevant(np.array([scores], np.float32), np.array([relevant], bool))
    return {name: float(metric(ranks)[0]) for name, metric in ALL.items()}


def test_by_hand():
    """Ranks 1 and 3 of four are relevant: AP = (1/1 + 2/3) / 2."""
    got = one([0.9, 0.8, 0.7, -0.1], [1, 0, 1, 0])
    assert got["ap"] == pytest.approx((1 + 2 / 3) / 2)
    assert got["ap@2"] == pytest.approx(1 / 2)  # one of the two that could stand there
    assert (got["p@2"], got["r@2"], got["hit@2"], got["rr"]) == (0.5, 0.5, 1.0, 1.0)
    assert got["ndcg"] == pytest.approx((1 + 1 / 2) / (1 + 1 / np.log2(3)))


def test_the_truncated_divisor_is_the_smaller_of_k_and_relevant():
    few = metrics.rank_relevant(np.array([[3.0, 2, 1]], np.float32), np.array([[True, False, False]]))
    many = metrics.rank_relevant(np.array([[3.0, 2, 1]], np.float32), np.array([[True, True, True]]))
    assert metrics.average_precision(few, at=2)[0] == 1.0
    assert metrics.average_precision(many, at=2)[0] == 1.0
    assert metrics.recall_at_k(many, 2)[0] == pytest.approx(2 / 3)
    assert metrics.precision_at_k(few, 20)[0] == pytest.approx(1 / 3)  # three foregrounds, so three places


def test_two_tied_one_relevant_by_hand():
    """Either first (AP 1) or second (AP 1/2), each with probability one half."""
    got = one([0.5, 0.5], [1, 0])
    assert got["ap"] == pytest.approx(0.75)
    assert got["rr"] == pytest.approx(0.75)
    assert got["ap@2"] == pytest.approx(0.75)


def test_all_tied_is_chance_by_hand():
    """One relevant of four, no information: the mean of 1, 1/2, 1/3, 1/4."""
    assert one([0, 0, 0, 0], [0, 0, 1, 0])["ap"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


def test_both_zeros_are_a_tie():
    assert one([0.0, -0.0], [1, 0])["ap"] == one([-0.0, 0.0], [1, 0])["ap"] == pytest.approx(0.75)


def test_infinities_are_ordered():
    assert one([-np.inf, np.inf, 0], [0, 1, 0])["ap"] == 1.0
    assert one([-np.inf, np.inf, 0], [1, 0, 0])["ap"] == pytest.approx(1 / 3)
    assert one([-np.inf, np.inf, -np.inf], [1, 0, 0])["ap"] == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_without_relevant_there_is_no_value():
    ranks = metrics.rank_relevant(np.zeros((2, 3), np.float32), np.array([[0, 0, 0], [1, 0, 0]], bool))
    for name, metric in ALL.items():
        value = metric(ranks)
        assert np.isnan(value[0]), name
        assert not np.isnan(value[1]), name


def test_an_empty_gallery_and_no_queries():
    empty = metrics.rank_relevant(np.zeros((2, 0), np.float32), np.zeros((2, 0), bool))
    assert np.isnan(metrics.average_precision(empty)).all()
    none = metrics.rank_relevant(np.zeros((0, 4), np.float32), np.zeros((0, 4), bool))
    assert metrics.average_precision(none).shape == (0,)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_is_refused_by_name(dtype):
    scores = np.zeros((2, 3), dtype)
    scores[1, 2] = np.nan
    with pytest.raises(InputError, match=r"scores: 1 are NaN \(first: query 1, foreground 2\)"):
        metrics.rank_relevant(scores, np.ones((2, 3), bool))
    valid = np.ones((2, 3), bool)
    valid[1, 2] = False  # another category's foreground: not looked at
    assert metrics.average_precision(metrics.rank_relevant(scores, np.ones((2, 3), bool), valid))[1] == 1.0


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="one shape"):
        metrics.rank_relevant(np.zeros((2, 3), np.float32), np.zeros((3,), bool))
    with pytest.raises(ValueError, match="at least 1"):
        metrics.precision_at_k(metrics.rank_relevant(np.zeros((1, 1), np.float32), np.ones((1, 1), bool)), 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int32])
def test_against_the_naive_loop_without_ties(dtype):
    rng = np.random.default_rng(0)
    scores = np.stack([rng.permutation(40) for _ in range(30)]).astype(dtype) - dtype(20)
    relevant = rng.random((30, 40)) < 0.2
    relevant[:, 0] = True
    ranks = metrics.rank_relevant(scores, relevant)
    values = {name: metric(ranks) for name, metric in ALL.items()}
    for q in range(30):
        expected = naive(relevant[q, np.argsort(-scores[q].astype(float))].tolist())
        for name, value in expected.items():
            assert values[name][q] == pytest.approx(value, abs=1e-12), name


def test_scores_that_differ_in_the_last_bit_are_no_tie():
    low = np.float32(0.7)
    high = np.nextafter(low, np.float32(1))
    assert one([low, high], [0, 1])["ap"] == 1.0
    assert one([-low, -high], [1, 0])["ap"] == 1.0


def test_float64_scores_that_are_equal_as_float32_are_no_tie():
    scores = np.array([[0.5, 0.5 + 1e-12, 1e300, 1e301]])
    ranks = metrics.rank_relevant(scores, np.array([[0, 1, 0, 1]], bool))
    assert metrics.average_precision(ranks)[0] == pytest.approx((1 + 2 / 3) / 2)


def test_what_is_not_valid_is_no_tie_of_minus_infinity():
    scores = np.array([[-np.inf, -np.inf, 7.0]], np.float32)
    ranks = metrics.rank_relevant(scores, np.array([[1, 0, 1]], bool), np.array([[1, 1, 0]], bool))
    assert metrics.average_precision(ranks)[0] == pytest.approx(0.75)
    assert ranks.num_valid[0] == 2
    assert ranks.num_relevant[0] == 1


def test_against_scikit_learn_without_ties():
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(50, 120)).astype(np.float32)
    relevant = rng.random((50, 120)) < 0.1
    relevant[:, 3] = True
    ranks = metrics.rank_relevant(scores, relevant)
    expected = [average_precision_score(r, s) for r, s in zip(relevant, scores, strict=True)]
    np.testing.assert_allclose(metrics.average_precision(ranks), expected, atol=1e-12)
    expected = [ndcg_score([r], [s], k=10) for r, s in zip(relevant, scores, strict=True)]
    np.testing.assert_allclose(metrics.ndcg(ranks, at=10), expected, atol=1e-12)


tied_lists = st.integers(1, 6).flatmap(
    lambda n: st.tuples(
        st.lists(st.sampled_from([-1.0, -0.0, 0.0, 0.5, 2.0]), min_size=n, max_size=n),
        st.lists(st.booleans(), min_size=n, max_size=n).filter(any),
    )
)


@settings(max_examples=150, deadline=None)
@given(tied_lists)
def test_with_ties_every_metric_is_the_mean_over_all_orders_of_the_ties(case):
    scores, relevant = case
    orders = [
        order
        for order in itertools.permutations(range(len(scores)))
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))
    ]
    lists = [naive([relevant[i] for i in order]) for order in orders]
    for name, value in one(scores, relevant).items():
        assert value == pytest.approx(np.mean([values[name] for values in lists]), abs=1e-12), name


def test_expected_chance_agrees_with_random_scores():
    rng = np.random.default_rng(2)
    relevant = np.zeros((1, 60), bool)
    relevant[0, :7] = True
    exact = metrics.rank_relevant(np.zeros((1, 60), np.float32), relevant)
    random = metrics.rank_relevant(rng.random((20_000, 60), np.float32), np.repeat(relevant, 20_000, axis=0))
    for name, metric in ALL.items():
        drawn = metric(random)
        assert metric(exact)[0] == pytest.approx(drawn.mean(), abs=4 * drawn.std() / np.sqrt(len(drawn))), name


shapes = st.tuples(st.integers(1, 4), st.integers(1, 12))
cases = shapes.flatmap(
    lambda shape: st.tuples(
        arrays.arrays(np.float32, shape, elements=st.integers(-3, 3).map(float)),
        arrays.arrays(bool, shape),
        st.randoms(use_true_random=False),
    )
)


@settings(max_examples=150, deadline=None)
@given(cases)
def test_properties(case):
    scores, relevant, random = case
    ranks = metrics.rank_relevant(scores, relevant)
    order = list(range(scores.shape[1]))
    random.shuffle(order)
    moved = metrics.rank_relevant(scores[:, order], relevant[:, order])
    scaled = metrics.rank_relevant(np.exp2(scores) + 1, relevant)  # monotone and exact
    in_64 = metrics.rank_relevant(scores.astype(np.float64) / 3, relevant)
    padded = metrics.rank_relevant(
        np.concatenate([scores, np.full_like(scores, 9)], axis=1),
        np.concatenate([relevant, np.ones_like(relevant)], axis=1),
        np.concatenate([np.ones_like(relevant), np.zeros_like(relevant)], axis=1),
    )
    assert (np.isnan(metrics.average_precision(ranks)) == ~relevant.any(axis=1)).all()
    for name, metric in ALL.items():
        value = metric(ranks)
        has = ~np.isnan(value)
        assert ((value[has] >= 0) & (value[has] <= 1 + 1e-12)).all(), name
        for other in (moved, scaled, in_64, padded):
            np.testing.assert_allclose(metric(other), value, atol=1e-12, err_msg=name)


@settings(max_examples=50, deadline=None)
@given(cases)
def test_a_perfect_ranking_scores_one(case):
    _, relevant, _ = case
    ranks = metrics.rank_relevant(relevant.astype(np.float32), relevant)
    for name in ("ap", "ap@2", "hit@2", "rr", "ndcg", "ndcg@2"):
        value = ALL[name](ranks)
        np.testing.assert_allclose(value[~np.isnan(value)], 1, err_msg=name)
