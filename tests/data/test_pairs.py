"""Labels by pairs of query and foreground, kept as lists."""

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fos_jax.data.arrays import Pairs, Queries, fingerprint
from fos_jax.data.splits import _pairs


def pairs_of(lists):
    return Pairs(np.cumsum([0, *map(len, lists)]), np.array([row for rows in lists for row in rows], np.int32))


def test_lists_and_blocks_by_hand():
    pairs = pairs_of([[2, 0], [], [1]])
    assert len(pairs) == 3
    assert [pairs.of(i).tolist() for i in range(3)] == [[2, 0], [], [1]]
    np.testing.assert_array_equal(pairs.is_pair(np.array([2, 0]), np.array([0, 1, 2, 5])), [[0, 1, 0, 0], [1, 0, 1, 0]])
    assert pairs.is_pair(np.array([], int), np.array([0])).shape == (0, 1)
    assert pairs.is_pair(np.array([0]), np.array([], int)).shape == (1, 0)


@given(st.lists(st.sets(st.integers(0, 6)), min_size=1, max_size=5), st.sets(st.integers(0, 8)), st.data())
def test_blocks_are_what_the_lists_say(lists, foregrounds, data):
    queries = data.draw(st.lists(st.integers(0, len(lists) - 1)))
    expected = [[row in lists[query] for row in foregrounds] for query in queries]
    got = pairs_of(lists).is_pair(np.array(queries, int), np.array(list(foregrounds), int))
    np.testing.assert_array_equal(got, np.array(expected, bool).reshape(len(queries), len(foregrounds)))


def test_ids_that_the_split_does_not_hold_are_left_out():
    """Lists [a, x], [x], [c, a] over the rows a = 0, c = 1."""
    pairs = _pairs(np.array(["a", "x", "x", "c", "a"]), np.array([0, 2, 3, 5]), {"a": 0, "c": 1})
    assert [pairs.of(i).tolist() for i in range(3)] == [[0], [], [1, 0]]
    assert _pairs(np.array([], np.str_), np.array([0, 0]), {}) is None


def test_fingerprint_depends_on_pairs_and_not_on_their_absence():
    one = np.zeros(1, np.int32)
    queries = Queries(
        np.array(["q"]), np.zeros((1, 2, 2, 3), np.uint8), np.zeros((1, 4)), one, np.zeros((1, 0), bool), one
    )
    labelled = dataclasses.replace(queries, relevant=pairs_of([[0]]))
    assert fingerprint(labelled) != fingerprint(queries)
    assert fingerprint(labelled) != fingerprint(dataclasses.replace(queries, irrelevant=pairs_of([[0]])))
    assert fingerprint(labelled) != fingerprint(dataclasses.replace(queries, relevant=pairs_of([[1]])))
