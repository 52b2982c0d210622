"""Calibration of posteriors and the teacher's accuracy, by hand."""

import numpy as np
import pytest
from evaluation_world import make_table

from fos_jax.evaluation.measure import calibration_error, gallery_accuracy, query_calibration
from fos_jax.evaluation.truth import Truth


def make_truth(own=(0, 1), pattern=(0, 1, 3, 4)):
    is_compatible = np.zeros((2, 8), bool)
    is_compatible[:, :2] = True
    table = make_table()
    return Truth(table, np.zeros(2, int), is_compatible, np.array(own), np.array([0, 0, 0, 1]), np.array(pattern))


def log(probability):
    with np.errstate(divide="ignore"):
        return np.log(np.array(probability, np.float32))


def test_two_equally_good_patterns_are_calibrated_at_one_half():
    """Both queries: 1/2, 1/2 on the two that fit; one's object is of the first pattern, the other's of the second."""
    posterior = log([[0.5, 0.5, 0, 0, 0, 0, 0, 0]] * 2)
    got = query_calibration(posterior, make_truth())
    assert got["nll_compatible"] == pytest.approx(0, abs=1e-6)
    assert got["nll_own"] == pytest.approx(np.log(2), abs=1e-6)
    assert got["calibration_error"] == pytest.approx(0, abs=1e-6)
    assert got["num_queries_with_own"] == 2


def test_overconfidence_is_seen():
    posterior = log([[0.9, 0.1, 0, 0, 0, 0, 0, 0]] * 2)
    got = query_calibration(posterior, make_truth())
    assert got["calibration_error"] == pytest.approx(0.4, abs=1e-6)  # right half of the time at 0.9
    assert got["nll_own"] == pytest.approx(-(np.log(0.9) + np.log(0.1)) / 2, rel=1e-5)


def test_without_own_foregrounds_half_of_it_does_not_exist():
    got = query_calibration(log([[0.25] * 4 + [0] * 4] * 2), make_truth(own=(-1, -1)))
    assert got["nll_compatible"] == pytest.approx(np.log(2), rel=1e-5)
    assert got["nll_own"] is None
    assert got["calibration_error"] is None


def test_impossible_truth_stays_finite():
    got = query_calibration(log([[0, 0, 1, 0, 0, 0, 0, 0]] * 2), make_truth())
    assert np.isfinite(got["nll_compatible"])
    assert got["nll_compatible"] > 100


def test_calibration_error_by_hand():
    """Bins 0.75..1 (0.8 right, 0.9 wrong: gap |1 - 1.7|) and 0.25..0.5 (0.3 wrong: gap 0.3), over three."""
    got = calibration_error(np.array([0.8, 0.9, 0.3]), np.array([True, False, False]), num_bins=4)
    assert got == pytest.approx((0.7 + 0.3) / 3)
    assert calibration_error(np.array([1.0]), np.array([True])) == 0.0


def test_gallery_accuracy_by_hand():
    """Cars: 0 right, 1 taken for 3 (yaw wrong, light right), unknown left out; the dog right."""
    posterior = np.zeros((4, 8))
    posterior[[0, 1, 2, 3], [0, 3, 2, 4]] = 1
    got = gallery_accuracy(log(posterior), make_truth(pattern=(0, 1, -1, 4)))
    assert got["by_category"] == {"car": 0.5, "dog": 1.0}
    assert got["pattern"] == 0.75
    assert got["by_attribute"]["car"] == {"yaw": 0.5, "light": 1.0}
    assert got["num_foregrounds"] == 3
