"""Sharing places out: by hand, against the worth of all sets, and against a plain loop."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fos_jax.index.exact import ExactIndex
from fos_jax.retrieval.groups import choose


def finder(posteriors):
    index = ExactIndex(posteriors)
    return lambda vector, k: index.search(vector[None], k)[1][0]


def worth(rows, posteriors, query, weight):
    """Fitting foregrounds expected, and `weight` for each pattern expected to fit and to be shown."""
    chosen = posteriors[list(rows)]
    return (chosen @ query).sum() + weight * query @ (1 - np.prod(1 - chosen, axis=0))


def test_by_hand():
    """Patterns .6 and .4; after the first row the second pattern is worth .4 (1 + w), the first .6 (1 + 0)."""
    posteriors = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    query = np.array([0.6, 0.4], np.float32)
    assert choose(finder(posteriors), posteriors, query, 3, coverage_weight=0.4) == [0, 1, 2]
    assert choose(finder(posteriors), posteriors, query, 3, coverage_weight=0.6) == [0, 2, 1]
    assert choose(finder(posteriors), posteriors, query, 2, coverage_weight=0.4) == [0, 1]
    assert choose(finder(posteriors), posteriors, query, 9, coverage_weight=0.6) == [0, 2, 1, 3]
    nothing = np.zeros((0, 2), np.float32)
    assert choose(finder(nothing), nothing, query, 3) == []


def test_rows_that_share_a_number_count_once():
    posteriors = np.array([[1, 0], [1, 0], [0, 1], [0.9, 0.1]], np.float32)
    query = np.array([0.6, 0.4], np.float32)
    same = np.array([7, 7, 3, 5])
    assert choose(finder(posteriors), posteriors, query, 9, coverage_weight=0.6, identity=same) == [0, 2, 3]


@st.composite
def worlds(draw):
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    n, p = draw(st.integers(1, 7)), draw(st.integers(1, 4))
    posteriors = rng.dirichlet(np.full(p, 0.5), n).astype(np.float32)
    return posteriors, rng.dirichlet(np.full(p, 0.7)).astype(np.float32), draw(st.floats(0, 5)), draw(st.integers(1, n))


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_it_reaches_its_share_of_the_best_set(world):
    posteriors, query, weight, total = world
    got = choose(finder(posteriors), posteriors, query, total, coverage_weight=weight)
    assert len(set(got)) == total
    best = max(worth(s, posteriors, query, weight) for s in itertools.combinations(range(len(posteriors)), total))
    assert worth(got, posteriors, query, weight) >= (1 - 1 / np.e) * best - 1e-5


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_each_choice_adds_most(world):
    posteriors, query, weight, total = world
    got = choose(finder(posteriors), posteriors, query, total, coverage_weight=weight)
    for i, row in enumerate(got):
        rest = [r for r in range(len(posteriors)) if r not in got[:i]]
        best = max(worth([*got[:i], r], posteriors, query, weight) for r in rest)
        assert worth([*got[:i], row], posteriors, query, weight) >= best - 1e-5
