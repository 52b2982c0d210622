"""Further positives of CFO-Search: silhouettes by hand, and which foregrounds become positives."""

import numpy as np
import pytest

from fos_jax.data.arrays import Foregrounds, Pairs, Queries
from fos_jax.errors import InputError
from fos_jax.rivals import cfo as extension

S = 64


def cutout(*, height):
    """An opaque bar of this height at the bottom."""
    image = np.zeros((S, S, 4), np.uint8)
    image[S - height :, :, 3] = 255
    return image


# Query: 0 1 2 3 of category 0, 4 of category 1, 5 without an own foreground, 6 with the same foreground as 1.
HEIGHTS = [64, 64, 32, 48, 64]
OWN = np.array([0, 1, 2, 3, 4, -1, 1], np.int32)
CATEGORY = np.array([0, 0, 0, 0, 1, 0, 0], np.int32)
ANGLES = np.radians([0, 40, 10, 20, 0, 0, 5])  # of the contexts
CONTEXT = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1).astype(np.float32)
FOREGROUNDS = Foregrounds(
    np.array(list("abcde")),
    np.stack([cutout(height=h) for h in HEIGHTS]),
    CATEGORY[:5],
    np.array([0, 0, 1, -1, 2], np.int32),
)
IMAGE = np.zeros((7, 8, 8, 3), np.uint8)
BOX = np.tile(np.array([0.2, 0.2, 0.8, 0.8], np.float32), (7, 1))
IS_COMPATIBLE = np.tile(np.array([[True, False, False]]), (7, 1))
QUERIES = Queries(np.array(list("0123456")), IMAGE, BOX, CATEGORY, IS_COMPATIBLE, OWN)


def found(**settings):
    settings = {"num_contexts": 9, "smallest_overlap": 0.0, "largest_number": 9} | settings
    pairs = extension.further_positives(QUERIES, FOREGROUNDS, CONTEXT, **settings)
    return [pairs.of(i).tolist() for i in range(7)]


def test_overlap_by_hand():
    masks = extension.silhouettes(FOREGROUNDS.image, np.arange(4))
    np.testing.assert_allclose(extension.overlaps(masks[0], masks), [1, 1, 0.5, 0.75])
    np.testing.assert_array_equal(extension.overlaps(np.zeros(4, bool), np.zeros((1, 4), bool)), [0])


def test_all_contexts_and_overlaps_are_the_category_by_overlap():
    """Never the own foreground, none twice, none of another category, nothing for a query without a foreground.

    Equal overlaps: the more similar context first (query 6, with foreground 1, before query 0).
    """
    assert found() == [[1, 3, 2], [0, 3, 2], [3, 1, 0], [1, 0, 2], [], [], [0, 3, 2]]


def test_silhouettes_alone():
    assert found(smallest_overlap=0.7) == [[1, 3], [0, 3], [], [1, 0], [], [], [0, 3]]
    assert found(smallest_overlap=0.7, largest_number=1) == [[1], [0], [], [1], [], [], [0]]


def test_contexts_alone():
    """Query 0's nearest contexts are 6's (5 degrees, foreground 1) and 2's (10 degrees)."""
    near = found(num_contexts=2)
    assert near[0] == [1, 2]
    assert near[3] == [1, 2]  # query 2 at 10 degrees, query 6 at 15; the larger overlap first
    assert found(num_contexts=1)[0] == [1]
    assert found(num_contexts=0) == [[]] * 7


def test_both_must_hold():
    assert found(num_contexts=2, smallest_overlap=0.7)[0] == [1]
    assert found(num_contexts=1, smallest_overlap=0.7)[2] == []  # the nearest is 6's foreground, of overlap 0.5


def test_blocks_change_nothing(monkeypatch):
    whole = found(num_contexts=3, smallest_overlap=0.4)
    monkeypatch.setattr(extension, "_BLOCK", 2)
    assert found(num_contexts=3, smallest_overlap=0.4) == whole


def test_the_record_says_how_many_are_compatible():
    """Query 0 with foregrounds of pattern 0 (fits), 1 (does not) and unknown."""
    pairs = Pairs(np.array([0, 3, 3, 3, 3, 3, 3, 3]), np.array([1, 2, 3], np.int32))
    assert extension.share_compatible(pairs, QUERIES, FOREGROUNDS) == 0.5
    none = Pairs(np.zeros(8, int), np.zeros(0, np.int32))
    assert np.isnan(extension.share_compatible(none, QUERIES, FOREGROUNDS))


@pytest.mark.parametrize(("field", "value"), [("num_contexts", -1), ("largest_number", -1), ("smallest_overlap", 1.5)])
def test_numbers_out_of_range_are_named(field, value):
    with pytest.raises(InputError, match=rf"extension\.{field}: {value}, expected"):
        found(**{field: value})


def test_the_log_is_silent_where_nothing_is_known():
    pairs = Pairs(np.array([0, 2, 2, 2, 2, 2, 2, 2]), np.array([1, 2], np.int32))
    assert extension.described(pairs, QUERIES, FOREGROUNDS).startswith("0.29 further positives a query, 50% of them")
    none = Pairs(np.zeros(8, int), np.zeros(0, np.int32))
    assert extension.described(none, QUERIES, FOREGROUNDS) == "0.00 further positives a query"
