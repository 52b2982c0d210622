"""Exact search against a sorted loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fos_jax.errors import InputError
from fos_jax.index import exact
from fos_jax.index.exact import ExactIndex, check_vectors, top_k


def test_top_k_by_hand():
    scores, rows = top_k(np.float32([[1, 3, 2, 3], [-np.inf, -np.inf, 5, -np.inf]]), 3)
    np.testing.assert_array_equal(rows, [[1, 3, 2], [2, -1, -1]])
    np.testing.assert_array_equal(scores, np.float32([[3, 3, 2], [5, -np.inf, -np.inf]]))


@given(st.integers(0, 30), st.integers(1, 40), st.integers(1, 4), st.integers(0, 99), st.sampled_from([None, 0.5, 0]))
def test_exact_search_is_a_sorted_loop_over_what_is_allowed(n, k, q, seed, share):
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-3, 4, (n, 3)).astype(np.float32)  # whole numbers: many ties
    queries = rng.integers(-3, 4, (q, 3)).astype(np.float32)
    allowed = None if share is None else rng.random(n) < share
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "_BLOCK", 7)
        scores, rows = ExactIndex(vectors).search(queries, k, allowed=allowed)
    assert scores.shape == rows.shape == (q, k)
    assert (scores.dtype, rows.dtype) == (np.float32, np.int64)
    for i in range(q):
        places = range(n) if allowed is None else np.flatnonzero(allowed).tolist()
        ranked = sorted((-float(vectors[j] @ queries[i]), j) for j in places)[:k]
        np.testing.assert_array_equal(scores[i, : len(ranked)], [-s for s, _ in ranked])
        np.testing.assert_array_equal(rows[i, : len(ranked)], [j for _, j in ranked])
        assert (rows[i, len(ranked) :] == -1).all()
        assert np.isneginf(scores[i, len(ranked) :]).all()


def test_infinite_rows_and_wrong_shapes_are_refused():
    vectors = np.zeros((50, 4), np.float32)
    vectors[[3, 7], 2] = np.nan
    with pytest.raises(InputError, match="cars: 2 of 50 rows are not finite, the first is row 3"):
        ExactIndex(vectors, where="cars")
    with pytest.raises(InputError, match="not finite"):
        check_vectors(np.float32([[np.inf, 0]]))
    with pytest.raises(InputError, match="expected \\[rows, size\\]"):
        check_vectors(np.zeros(3, np.float32))


def test_queries_and_masks_that_do_not_fit_are_refused():
    index = ExactIndex(np.zeros((5, 4), np.float32))
    with pytest.raises(InputError, match="query vectors: 1 of 2 rows"):
        index.search(np.float32([[0] * 4, [np.nan] * 4]), 3)
    with pytest.raises(InputError, match="got size 3, expected 4"):
        index.search(np.zeros((1, 3), np.float32), 2)
    for allowed in (np.ones(4, bool), np.ones(5, np.int64)):
        with pytest.raises(InputError, match=r"allowed: got .*, expected bool \[5\]"):
            index.search(np.zeros((1, 4), np.float32), 2, allowed=allowed)
