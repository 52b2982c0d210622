"""Splits keep together what belongs together."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fos_jax.datasets.fos_patterns.splitting import (
    closest_bits,
    linked_components,
    near_duplicate_links,
    split_components,
)

SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}


def test_components_are_joined_through_others():
    number = linked_components(6, [(0, 1), (4, 1), (2, 5)])
    assert number[0] == number[1] == number[4]
    assert number[2] == number[5]
    assert len(set(number.tolist())) == 3


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 2**10 - 1), min_size=1, max_size=30), st.integers(-1, 4))
def test_links_join_what_all_pairs_join(values, bits):
    hashes = np.array(values, np.uint64) << np.uint64(27)  # the differing bits lie in the middle, over several bands
    pairs = [(i, j) for i, j in itertools.combinations(range(len(values)), 2) if bits >= 0]
    close = [(i, j) for i, j in pairs if (values[i] ^ values[j]).bit_count() <= bits]
    expected = linked_components(len(values), close)
    found = linked_components(len(values), near_duplicate_links(hashes, bits))
    for i, j in itertools.combinations(range(len(values)), 2):
        assert (found[i] == found[j]) == (expected[i] == expected[j])


def test_shares_are_met_where_nothing_hangs_together():
    split = split_components(range(100), [0] * 50 + [1] * 50, SHARES, seed=0)
    for label in (slice(0, 50), slice(50, 100)):
        np.testing.assert_array_equal(np.bincount(split[label], minlength=3), [35, 5, 10])


def test_a_pattern_of_two_has_one_in_train():
    split = split_components(range(4), [0, 0, 1, 1], SHARES, seed=0)
    assert (split[:2] == 0).sum() >= 1
    assert (split[2:] == 0).sum() >= 1


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 3)), min_size=1, max_size=60), st.integers(0, 5))
def test_no_component_is_divided_and_the_seed_decides(items, seed):
    component, label = zip(*items, strict=True)
    split = split_components(component, label, SHARES, seed=seed)
    for number in set(component):
        assert len({int(s) for s, c in zip(split, component, strict=True) if c == number}) == 1
    np.testing.assert_array_equal(split, split_components(component, label, SHARES, seed=seed))


def test_shares_must_sum_to_one():
    with pytest.raises(ValueError, match="sum to 1"):
        split_components([0], [0], {"train": 0.5}, seed=0)


def test_closest_bits_against_a_loop():
    rng = np.random.default_rng(3)
    a, b = (rng.integers(0, 2**63, n, np.uint64) for n in (300, 40))
    b[17] = a[271] ^ np.uint64(0b101)
    assert closest_bits(a, b) == (2, 271, 17)
    assert closest_bits(a[:0], b) == (65, -1, -1)
