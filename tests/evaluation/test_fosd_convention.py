"""FOSD's convention: every rule of field.md section 3 computed by hand, and a naive reading as oracle."""

import numpy as np
import pytest

from fos_jax.evaluation import conventions


def test_set1_recall_is_pooled_over_queries_and_rounded_percent():
    """Three queries with one positive each, at ranks 1, 2 and 6: recall@1 = 1/3, @5 = 2/3, @10 = 3/3."""
    scores = np.tile(np.arange(6.0, 0, -1), (3, 1))
    relevant = np.zeros((3, 6), bool)
    relevant[[0, 1, 2], [0, 1, 5]] = True
    got = conventions.fosd_set1_category(scores, relevant)
    assert got == {
        "recall_at_1_pooled": 33.33,
        "recall_at_5_pooled": 66.67,
        "recall_at_10_pooled": 100.0,
        "recall_at_20_pooled": 100.0,
    }


def test_set1_pools_hits_and_positives_not_queries():
    """One of three and one of one found first: 2/4 pooled, where the mean over queries would be 2/3."""
    scores = np.array([[3.0, 2, 1], [3, 2, 1]])
    relevant = np.array([[1, 1, 1], [1, 0, 0]], bool)
    assert conventions.fosd_set1_category(scores, relevant, at=(1,)) == {"recall_at_1_pooled": 50.0}


def test_set1_without_any_positive_is_refused():
    with pytest.raises(ValueError, match="no query has a relevant foreground"):
        conventions.fosd_set1_category(np.ones((1, 2)), np.zeros((1, 2), bool))


def test_set2_precisions_are_rounded_before_averaging():
    """Positives at ranks 1, 3 and 6 of 6: percent 100, 66.67, 50 -> 72.223..., printed 72.22."""
    scores = np.arange(6.0, 0, -1)[None]
    relevant = np.array([[1, 0, 1, 0, 0, 1]], bool)
    got = conventions.fosd_set2_category(scores, relevant, np.ones(1), np.ones(6))
    assert got["map"] == got["map_at_20"] == 72.22
    assert got["precision_at_1_pooled"] == 100.0
    assert got["precision_at_5_pooled"] == 40.0
    assert got["precision_at_20_pooled"] == 50.0  # min(kept, 20) = 6 places


def test_rounding_first_changes_the_result():
    """Ranks 1, 6, 9: 100, 33.33.., 33.33.. has mean 55.5555.., printed 55.56; rounded first it is 55.5533.., 55.55."""
    scores = np.arange(9.0, 0, -1)[None]
    relevant = np.zeros((1, 9), bool)
    relevant[0, [0, 5, 8]] = True
    assert conventions.fosd_set2_category(scores, relevant, np.ones(1), np.ones(9))["map"] == 55.55


def test_the_aspect_filter_removes_from_the_limit_on():
    """Box aspect 1; a difference of 1.25 is out where that is the limit, 1.125 is in: the list has two entries."""
    scores = np.array([[0.9, 0.8, 0.7]])
    relevant = np.array([[1, 0, 1]], bool)
    got = conventions.fosd_set2_category(
        scores, relevant, np.array([1.0]), np.array([2.25, 2.125, 1.0]), max_aspect_difference=1.25
    )
    assert got["map"] == 50.0  # the positive at 2.25 is cut and never counted; the other is second
    assert got["precision_at_1_pooled"] == 0.0
    assert got["precision_at_5_pooled"] == 50.0
    default = conventions.fosd_set2_category(scores, relevant, np.array([1.0]), np.array([2.25, 2.125, 1.0]))
    assert default == got
    wide = conventions.fosd_set2_category(
        scores, relevant, np.array([1.0]), np.array([2.25, 2.125, 1.0]), max_aspect_difference=1.26
    )
    assert wide["map"] == round((100 + 66.67) / 2, 2)


def test_a_query_with_nothing_in_its_list_counts_as_zero():
    """All foregrounds of the first query are cut: AP 0, no place in the pool; the second query is perfect."""
    got = conventions.fosd_set2_category(
        np.ones((2, 2)), np.array([[1, 0], [1, 0]], bool), np.array([9.0, 1.0]), np.array([1.0, 1.0])
    )
    assert got["map"] == 50.0
    assert got["precision_at_1_pooled"] == 100.0


def test_map_20_divides_by_the_positives_found_there():
    """Positives at ranks 1 and 25: AP = (100 + 8) / 2, AP-20 = 100 / 1."""
    scores = np.arange(30.0, 0, -1)[None]
    relevant = np.zeros((1, 30), bool)
    relevant[0, [0, 24]] = True
    got = conventions.fosd_set2_category(scores, relevant, np.ones(1), np.ones(30))
    assert (got["map"], got["map_at_20"]) == (54.0, 100.0)


def test_precision_is_pooled_over_unequal_lists():
    """Lists of 1 and 3 entries with 1 and 0 hits: precision@5 = 1 / (1 + 3)."""
    aspects = np.array([1.0, 2.0, 2.0])
    got = conventions.fosd_set2_category(
        np.array([[3.0, 2, 1], [3.0, 2, 1]]), np.array([[1, 0, 0], [0, 0, 0]], bool), np.array([0.5, 1.5]), aspects
    )
    assert got["precision_at_5_pooled"] == 25.0


def test_negative_scores_are_refused():
    with pytest.raises(ValueError, match="negative"):
        conventions.fosd_set2_category(np.array([[-0.1]]), np.ones((1, 1), bool), np.ones(1), np.ones(1))


def test_overall_is_the_unweighted_mean_over_categories():
    assert conventions.fosd_overall({"car": {"map": 40.0}, "dog": {"map": 60.01}}) == {"map": pytest.approx(50.005)}
    with pytest.raises(ValueError, match="empty"):
        conventions.fosd_overall({})


def test_set2_against_a_naive_reading():
    rng = np.random.default_rng(0)
    scores, relevant = rng.random((20, 60)), rng.random((20, 60)) < 0.15
    box, aspect = rng.uniform(0.3, 3, 20), rng.uniform(0.3, 3, 60)
    got = conventions.fosd_set2_category(scores, relevant, box, aspect)
    aps, aps_20, hits, places = [], [], 0, 0
    for q in range(20):
        kept = [g for g in range(60) if abs(box[q] - aspect[g]) < 1.2]
        kept.sort(key=lambda g: -scores[q, g])
        for at, out in ((None, aps), (20, aps_20)):
            found, precisions = 0, []
            for rank, g in enumerate(kept[:at], 1):
                if relevant[q, g]:
                    found += 1
                    precisions.append(round(100 * found / rank, 2))
            out.append(sum(precisions) / len(precisions) if precisions else 0)
        hits += sum(relevant[q, g] for g in kept[:10])
        places += min(len(kept), 10)
    assert got["map"] == pytest.approx(np.mean(aps), abs=0.00501)
    assert got["map_at_20"] == pytest.approx(np.mean(aps_20), abs=0.00501)
    assert got["precision_at_10_pooled"] == pytest.approx(100 * hits / places, abs=0.00501)
