"""Pattern heads on frozen features: linear softmax within each category, by hard labels or by a teacher's posterior."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fos_jax.experts.canonical import Reduced
from fos_jax.posteriors import is_in_category, masked_log_softmax


class Head(NamedTuple):
    """logits = (x - mean) @ matrix + bias, over the patterns of the row's category.

    Attributes:
      mean: float32 [F]. matrix: float32 [F, P]. bias: float32 [P].
    """

    mean: np.ndarray
    matrix: np.ndarray
    bias: np.ndarray

    def log_posterior(self, rows: np.ndarray, category: np.ndarray, category_of_pattern: np.ndarray) -> np.ndarray:
        """float32 [n, P], normalised within the category, -inf elsewhere (everywhere for category -1)."""
        category = np.asarray(category)
        if not len(self.bias):
            return np.zeros((len(category), 0), np.float32)
        logits = (np.asarray(rows, np.float32) - self.mean) @ self.matrix + self.bias
        logits = np.where(np.asarray(category_of_pattern)[None] == category[:, None], logits, -np.inf)
        known = np.isfinite(logits).any(1, keepdims=True)
        top = np.where(known, logits.max(1, keepdims=True), 0)
        total = np.log(np.maximum(np.exp(logits - top).sum(1, keepdims=True), 1e-30))
        return np.where(known, logits - top - total, -np.inf).astype(np.float32)


def fit_head(
    reduced: Reduced,
    target: np.ndarray,
    category: np.ndarray,
    category_of_pattern: np.ndarray,
    *,
    strengths: Sequence[float],
    held_out: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
    num_steps: int = 100,
) -> Head:
    """Fits a head by the cross-entropy to target distributions, with a quadratic penalty; deterministic.

    Args:
      reduced: n rows.
      target: float [n, P], distributions over the patterns of each row's category: one-hot labels, or a teacher's.
      category: int [n]. category_of_pattern: int [P].
      strengths: penalties to try.
      held_out: rows float [m, F], target and category of those on which a strength is chosen, by cross-entropy; needed
        where there are several.
      num_steps: of L-BFGS.
    """
    scale = np.sqrt(reduced.rows.shape[1])
    x = jnp.asarray(reduced.rows / scale, jnp.float32)
    allowed = is_in_category(jnp.asarray(category), jnp.asarray(category_of_pattern))
    found: list[tuple[float, Head]] = []
    for strength in strengths:
        fitted = _minimise(x, jnp.asarray(target, jnp.float32), allowed, jnp.float32(strength), num_steps=num_steps)
        matrix, bias = (np.asarray(a, np.float64) for a in (fitted["matrix"], fitted["bias"]))
        head = Head(*(a.astype(np.float32) for a in (reduced.mean, reduced.matrix @ matrix / scale, bias)))
        if held_out is None:
            return head
        told = head.log_posterior(held_out[0], held_out[2], category_of_pattern)
        found.append((float(-(held_out[1] * np.where(np.isfinite(told), told, 0)).sum(1).mean()), head))
    return min(found, key=lambda entry: entry[0])[1]


@functools.partial(jax.jit, static_argnames="num_steps")
def _minimise(x, target, allowed, strength, *, num_steps):
    def loss(params):
        log_posterior = masked_log_softmax(x @ params["matrix"] + params["bias"], allowed)
        entropy = -(target * jnp.where(allowed, log_posterior, 0)).sum(1).mean()
        return entropy + strength * (params["matrix"] ** 2).sum()

    optimizer = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(loss)
    params = {"matrix": jnp.zeros((x.shape[1], target.shape[1])), "bias": jnp.zeros(target.shape[1])}

    def step(carry, _):
        params, state = carry
        value, gradient = value_and_grad(params, state=state)
        updates, state = optimizer.update(gradient, state, params, value=value, grad=gradient, value_fn=loss)
        return (optax.apply_updates(params, updates), state), value

    return jax.lax.scan(step, (params, optimizer.init(params)), length=num_steps)[0][0]
