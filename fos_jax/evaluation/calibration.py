"""How far a query's pattern posterior can be believed, and how well the teacher names patterns."""

import numpy as np

from fos_jax.evaluation.truth import Truth


def query_calibration(log_posterior: np.ndarray, truth: Truth, *, num_bins: int = 15) -> dict[str, float | int | None]:
    """Negative log-likelihoods (nats) and calibration error of p(pattern | query), float32 [Q, P] log-probabilities.

    A query fits several patterns, and its original object is of one of them. So a posterior is asked two things:
    `nll_compatible` = -log of the total probability of the compatible patterns (0 is perfect), and `nll_own` = -log of
    the original object's pattern (cannot be 0 where several fit). `calibration_error` is the expected calibration
    error of the top pattern being the original object's, in `num_bins` equal bins of confidence: there, confidence
    1/2 with two equally good patterns is as it should be. The last two are None without original objects.

    Source: Guo et al., "On calibration of modern neural networks", ICML 2017 (the error); the rest design decision.
    """
    probability = np.exp(log_posterior.astype(np.float64))
    has_compatible = truth.is_compatible.any(axis=1)
    mass = np.where(truth.is_compatible, probability, 0).sum(axis=1)[has_compatible]
    own = np.where(truth.own_foreground >= 0, truth.pattern[np.maximum(truth.own_foreground, 0)], -1)
    rows = np.flatnonzero(own >= 0)
    smallest = np.finfo(np.float64).tiny
    out: dict[str, float | int | None] = {
        "nll_compatible": float(np.mean(-np.log(np.maximum(mass, smallest)))) if len(mass) else None,
        "nll_own": None,
        "calibration_error": None,
        "num_bins": num_bins,
        "num_queries_with_own": len(rows),
    }
    if len(rows):
        out["nll_own"] = float(np.mean(-np.log(np.maximum(probability[rows, own[rows]], smallest))))
        top = probability[rows].argmax(axis=1)
        out["calibration_error"] = calibration_error(probability[rows, top], top == own[rows], num_bins=num_bins)
    return out


def calibration_error(confidence: np.ndarray, is_right: np.ndarray, *, num_bins: int = 15) -> float:
    """Mean over predictions of |share right - mean confidence| of the prediction's bin.

    Args:
      confidence: float [n] in 0..1. is_right: bool [n]. num_bins: equal bins of 0..1.
    """
    bins = np.minimum((np.clip(confidence, 0, 1) * num_bins).astype(int), num_bins - 1)
    gap = np.bincount(bins, weights=np.asarray(is_right, float) - confidence, minlength=num_bins)
    return float(np.abs(gap).sum() / len(bins))


def gallery_accuracy(log_posterior: np.ndarray, truth: Truth) -> dict[str, object]:
    """Share of gallery foregrounds whose pattern, and each attribute of it, the teacher names right.

    Args:
      log_posterior: float32 [G, P], the teacher's p(pattern | foreground). truth: labels.

    Returns: `pattern` (mean over categories), `by_category`, `by_attribute` (category -> attribute -> accuracy of the
    most probable value) and `num_foregrounds`, counting foregrounds of known pattern only.
    """
    table = truth.table
    by_category: dict[str, float] = {}
    by_attribute: dict[str, dict[str, float]] = {}
    count = 0
    for category, name in enumerate(table.categories):
        rows = np.flatnonzero((truth.foreground_category == category) & (truth.pattern >= 0))
        if not len(rows):
            continue
        count += len(rows)
        by_category[name] = float((log_posterior[rows].argmax(axis=1) == truth.pattern[rows]).mean())
        marginal = np.exp(log_posterior[rows].astype(np.float64)) @ table.has_value  # [n, V]
        is_true = table.has_value[truth.pattern[rows]]  # [n, V]
        by_attribute[name] = {}
        for attribute in table.attributes.get(name, {}):
            columns = [i for i, key in enumerate(table.attribute_values) if key[:2] == (name, attribute)]
            named = marginal[:, columns].argmax(axis=1)
            by_attribute[name][attribute] = float(is_true[:, columns][np.arange(len(rows)), named].mean())
    mean = float(np.mean(list(by_category.values()))) if by_category else None
    return {"pattern": mean, "by_category": by_category, "by_attribute": by_attribute, "num_foregrounds": count}
