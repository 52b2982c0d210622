"""Measures of a model on the validation split, and the calibration of its posteriors there."""

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fos_jax.data.arrays import Foregrounds, Queries
from fos_jax.encoders.build import run_in_batches
from fos_jax.metrics import average_precision, rank_relevant
from fos_jax.pattern_table import PatternTable
from fos_jax.posteriors import is_in_category, masked_log_softmax, pattern_log_posterior

QUERY_INPUTS = ("image", "box_yxyx_norm", "category")  # of a query encoder, in this order
FOREGROUND_INPUTS = ("image", "category")

_LOWEST, _HIGHEST, _POINTS = 0.02, 200.0, 200


def calibrated_scale(logits: np.ndarray, is_allowed: np.ndarray, target: np.ndarray) -> float:
    """Scale that makes softmax(scale * logits) most likely.

    Args:
      logits: float [n, P]; only allowed entries are read.
      is_allowed: bool [n, P], patterns of the row's category.
      target: float [n, P], what the posterior should be; rows sum to one, or to zero where they take no part.

    Returns:
      The minimiser of the mean cross-entropy over a logarithmic grid from 0.02 to 200, refined by one parabola
      (cross-entropy is convex in the scale, so the grid cannot miss it).

    Raises:
      ValueError: no row takes part.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017 (temperature scaling).
    """
    if not np.any(target > 0):
        raise ValueError("target has no positive entry, expected at least one row to calibrate on")
    grid = np.geomspace(_LOWEST, _HIGHEST, _POINTS)
    loss = np.asarray(_cross_entropies(*map(jnp.asarray, (logits, is_allowed, target, grid))))
    best = int(np.argmin(loss))
    if not 0 < best < _POINTS - 1:
        return float(grid[best])
    left, middle, right = loss[best - 1 : best + 2].astype(np.float64)
    curvature = left - 2 * middle + right
    shift = 0.0 if curvature <= 0 else float(np.clip(0.5 * (left - right) / curvature, -0.5, 0.5))
    return float(grid[best] * (grid[1] / grid[0]) ** shift)


def cross_entropy(logits: np.ndarray, is_allowed: np.ndarray, target: np.ndarray, scale: float) -> float:
    """Mean cross-entropy (nats) of softmax(scale * logits) over rows with a target; arguments of `calibrated_scale`."""
    return float(_cross_entropies(*map(jnp.asarray, (logits, is_allowed, target)), jnp.array([scale]))[0])


def mean_average_precision(scores: np.ndarray, relevant: np.ndarray, valid: np.ndarray) -> float:
    """Standard mAP over all queries that have a relevant foreground; arguments [queries, foregrounds]."""
    return float(np.nanmean(average_precision(rank_relevant(scores, relevant, valid))))


class Encoder:
    """An encoder over many rows, compiled once for one batch size.

    Args:
      module: linen module whose output is a named tuple of arrays [B, ...].
      inputs: names of its arguments among the arrays, in order.
      batch_size: rows at a time; the last batch is padded and the padding cut off again.
    """

    def __init__(self, module: nn.Module, inputs: tuple[str, ...], *, batch_size: int = 256):
        self._apply = jax.jit(lambda variables, *arrays: tuple(module.apply(variables, *arrays)))
        self._inputs = inputs
        self._batch_size = batch_size

    def __call__(
        self, variables: Mapping[str, Any], arrays: Mapping[str, np.ndarray], *, description: str = ""
    ) -> tuple[np.ndarray, ...]:
        """Outputs of all rows, float32 arrays [n, ...]; a progress bar where there is a description."""
        step = functools.partial(self._apply, jax.device_put(variables))
        rows = [arrays[name] for name in self._inputs]
        size = min(self._batch_size, len(rows[0]))
        return tuple(run_in_batches(step, rows, batch_size=size, description=description))


class HeldOut:
    """A validation split as trainings are measured on it: student and rivals alike.

    Attributes:
      foregrounds, queries: of the split.

    Args:
      foregrounds, queries: the split; foregrounds of unknown pattern take no part.
      table: pattern table.
    """

    def __init__(self, foregrounds: Foregrounds, queries: Queries, table: PatternTable):
        self.foregrounds, self.queries, self._table = foregrounds, queries, table
        is_labelled = foregrounds.pattern >= 0
        self._valid = (queries.category[:, None] == foregrounds.category[None, :]) & is_labelled[None, :]
        self._relevant = queries.is_compatible[:, foregrounds.pattern] & self._valid
        fits = np.asarray(queries.is_compatible)
        self._fits = (fits / np.maximum(fits.sum(axis=1, keepdims=True), 1)).astype(np.float32)

    def map(self, scores: np.ndarray) -> float:
        """mAP of scores [queries, foregrounds] within each query's category."""
        return mean_average_precision(scores, self._relevant, self._valid)

    def query_scale(self, logits: np.ndarray) -> float:
        """Calibrated scale of the queries' logits [n, P]."""
        return calibrated_scale(logits, self._is_allowed(self.queries), self._fits)

    def query_cross_entropy(self, logits: np.ndarray, scale: float) -> float:
        """Cross-entropy (nats) of the queries' posterior to a uniform one over the patterns that fit."""
        return cross_entropy(logits, self._is_allowed(self.queries), self._fits, scale)

    def foreground_scale(self, logits: np.ndarray) -> float:
        """Calibrated scale of the foregrounds' logits [n, P]."""
        target = pattern_targets_of(self.foregrounds, self._table)
        return calibrated_scale(logits, self._is_allowed(self.foregrounds), target)

    def log_posterior(self, logits: np.ndarray, rows: Foregrounds | Queries, *, scale: float) -> np.ndarray:
        """Pattern log-posterior float32 [n, P] of rows of the split."""
        return np.asarray(
            pattern_log_posterior(jnp.asarray(logits), rows.category, self._table.category_of_pattern, scale=scale)
        )

    def _is_allowed(self, rows: Foregrounds | Queries) -> np.ndarray:
        return np.asarray(is_in_category(rows.category, self._table.category_of_pattern))


def pattern_targets_of(foregrounds: Foregrounds, table: PatternTable) -> np.ndarray:
    """float32 [n, P]: 1 at each foreground's own pattern; rows of zeros where it is unknown."""
    return (foregrounds.pattern[:, None] == np.arange(table.num_patterns)).astype(np.float32)


@jax.jit
def _cross_entropies(logits: jax.Array, is_allowed: jax.Array, target: jax.Array, scales: jax.Array) -> jax.Array:
    finite = jnp.where(is_allowed, logits, 0.0)

    def one(scale: jax.Array) -> jax.Array:
        log_posterior = masked_log_softmax(scale * finite, is_allowed)
        per_row = -jnp.sum(jnp.where(target > 0, target * jnp.where(is_allowed, log_posterior, 0.0), 0.0), axis=1)
        return jnp.sum(per_row) / jnp.sum(jnp.sum(target, axis=1) > 0)

    return jax.lax.map(one, scales)
