"""The figures of the pattern search benchmark by hand, and the whole of it on a bundle whose answers are known."""

import types

import numpy as np
import pattern_search


def test_mmr_by_hand():
    """Scaled relevance 1, .9, .5, 0; the second is the first again. At .5 the third beats it: .25 - 0 to .45 - .5."""
    relevance, embedding = np.array([3.0, 2.8, 2.0, 1.0]), np.array([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    assert pattern_search.mmr(relevance, embedding, 3, 1.0) == [0, 1, 2]
    assert pattern_search.mmr(relevance, embedding, 3, 0.5) == [0, 2, 1]
    assert pattern_search.mmr(relevance, embedding, 9, 1.0) == [0, 1, 2, 3]
    assert sorted(pattern_search.mmr(relevance, embedding, 4, 0.0)) == [0, 1, 2, 3]


def test_round_robin_by_hand():
    assert pattern_search.round_robin([[1, 2, 3], [4], [5, 6]], 5) == [1, 4, 5, 2, 6]
    assert pattern_search.round_robin([[1, 2, 3], [4]], 9) == [1, 4, 2, 3]
    assert pattern_search.round_robin([], 3) == []


def test_coverage_and_precision_by_hand():
    """Gallery of patterns 0, 0, 1, 2; a query that fits 0, 1 and 3 (of which there is none); one that fits 3 alone."""
    gallery = types.SimpleNamespace(column=lambda _: np.array([0, 0, 1, 2]))
    compatible = np.array([[1, 1, 0, 1], [1, 1, 0, 1], [0, 0, 0, 1]], bool)
    split = pattern_search.Split(types.SimpleNamespace(gallery=gallery), [], np.zeros(3, int), compatible)
    got = pattern_search.figures(split, [[0, 1, 3, 3], [1, 2], [0, 1]])
    np.testing.assert_allclose(got["coverage"], [0.5, 1, np.nan])
    np.testing.assert_allclose(got["precision"], [0.5, 1, np.nan])
    means = pattern_search.summary(split, got)
    assert means["several"] == {"coverage": 0.75, "precision": 0.75}
    assert means["all"] == means["several"]
    assert np.isnan(means["one"]["coverage"])


def test_most_coverage_at_no_loss_of_precision_is_chosen():
    found = {
        0.0: {"coverage": 0.5, "precision": 0.400},
        1.0: {"coverage": 0.7, "precision": 0.396},
        2.0: {"coverage": 0.7, "precision": 0.410},
        4.0: {"coverage": 0.9, "precision": 0.394},
    }
    assert pattern_search.choose_setting(found, 0.0) == 1.0
    assert pattern_search.choose_setting({0.0: found[0.0], 4.0: found[4.0]}, 0.0) == 0.0


def test_differences_are_paired_within_the_groups():
    compatible = np.array([[1, 1], [1, 1], [1, 0]], bool)
    split = pattern_search.Split(None, [], np.zeros(3, int), compatible)
    ours, theirs = {"coverage": np.array([0.5, 0.75, np.nan])}, {"coverage": np.array([0.25, 0.5, 1.0])}
    got = pattern_search.differences(split, ours, theirs)
    assert got["coverage, several"] == got["coverage, all"] == [0.25, 0.25, 0.25]
    assert np.isnan(got["coverage, one"]).all()
