"""Calibration: the one number that makes logits honest probabilities, found on the validation split."""

import jax
import jax.numpy as jnp
import numpy as np

from fos_jax.posteriors import masked_log_softmax

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


@jax.jit
def _cross_entropies(logits: jax.Array, is_allowed: jax.Array, target: jax.Array, scales: jax.Array) -> jax.Array:
    finite = jnp.where(is_allowed, logits, 0.0)

    def one(scale: jax.Array) -> jax.Array:
        log_posterior = masked_log_softmax(scale * finite, is_allowed)
        per_row = -jnp.sum(jnp.where(target > 0, target * jnp.where(is_allowed, log_posterior, 0.0), 0.0), axis=1)
        return jnp.sum(per_row) / jnp.sum(jnp.sum(target, axis=1) > 0)

    return jax.lax.map(one, scales)
