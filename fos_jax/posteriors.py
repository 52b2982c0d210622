"""Unit vectors, and pattern posteriors: p(pattern | query) and p(pattern | foreground), within one category.

Posteriors are log-probabilities: float32 [B, P], -inf for patterns of other categories. Gradients are finite.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

_NEVER = -1e9  # stands for -inf inside softmaxes: exp gives 0 and gradients stay finite


def is_in_category(category: ArrayLike, category_of_pattern: ArrayLike) -> jax.Array:
    """bool [B, P]: whether each pattern is of the row's category, from int [B] and int [P]."""
    return jnp.asarray(category)[:, None] == jnp.asarray(category_of_pattern)[None, :]


def masked_log_softmax(logits: ArrayLike, is_allowed: ArrayLike) -> jax.Array:
    """Log-softmax over the allowed entries of each row, -inf elsewhere.

    Args:
      logits: float [B, P]; values at entries that are not allowed are ignored, -inf included.
      is_allowed: bool [B, P]; a row without any gives -inf everywhere.

    Returns:
      float32 [B, P].

    Source: decision 5.
    """
    finite = jnp.where(is_allowed, jnp.asarray(logits, jnp.float32), _NEVER)
    return jnp.where(is_allowed, jax.nn.log_softmax(finite, axis=-1), -jnp.inf)


def pattern_log_posterior(
    logits: ArrayLike, category: ArrayLike, category_of_pattern: ArrayLike, *, scale: float | jax.Array = 1.0
) -> jax.Array:
    """Softmax over the patterns of the row's category.

    Args:
      logits: float [B, P], cosines or logits.
      category: int32 [B].
      category_of_pattern: int32 [P].
      scale: what logits are multiplied by (an inverse temperature).

    Returns:
      float32 [B, P], log-probabilities, -inf outside the category.

    Source: decision 5.
    """
    return masked_log_softmax(jnp.asarray(logits, jnp.float32) * scale, is_in_category(category, category_of_pattern))


def attribute_log_posterior(
    attribute_logits: ArrayLike, attribute_group: ArrayLike, *, scale: float | jax.Array = 1.0
) -> jax.Array:
    """Log-softmax inside each attribute: float [B, V], int [V] (`PatternTable.attribute_group`) to float32 [B, V]."""
    logits = (jnp.asarray(attribute_logits, jnp.float32) * scale).T  # [V, B]
    group = jnp.asarray(attribute_group)
    num_groups = logits.shape[0]  # never more groups than values
    highest = jax.lax.stop_gradient(jax.ops.segment_max(logits, group, num_groups))[group]  # [V, B]
    total = jax.ops.segment_sum(jnp.exp(logits - highest), group, num_groups)[group]  # [V, B]
    return (logits - highest - jnp.log(total)).T


def factorised_log_posterior(
    attribute_logits: ArrayLike,
    category: ArrayLike,
    *,
    category_of_pattern: ArrayLike,
    attribute_group: ArrayLike,
    has_value: ArrayLike,
    scale: float | jax.Array = 1.0,
) -> jax.Array:
    """Product of the attribute posteriors of each pattern, normalised over the category's patterns.

    Args:
      attribute_logits: float [B, V].
      category: int32 [B].
      category_of_pattern: int32 [P].
      attribute_group: int32 [V], equal for the values of one attribute of one category.
      has_value: bool [P, V].
      scale: what logits are multiplied by.

    Returns:
      float32 [B, P], log-probabilities, -inf outside the category.

    Source: decision 6.
    """
    by_value = attribute_log_posterior(attribute_logits, attribute_group, scale=scale)  # [B, V]
    joint = by_value @ jnp.asarray(has_value, jnp.float32).T  # [B, P]
    return masked_log_softmax(joint, is_in_category(category, category_of_pattern))


def combined_log_posterior(a: ArrayLike, b: ArrayLike) -> jax.Array:
    """Normalised geometric mean of two posteriors.

    Args:
      a: float32 [B, P], log-probabilities, -inf where impossible.
      b: the same; what is impossible in one is impossible in the result.

    Returns:
      float32 [B, P].

    Source: decision 6.
    """
    is_allowed = jnp.isfinite(a) & jnp.isfinite(b)
    mean = (jnp.where(is_allowed, a, 0.0) + jnp.where(is_allowed, b, 0.0)) / 2
    return masked_log_softmax(mean, is_allowed)


def unit(x: jax.Array, *, smallest_norm: float = 1e-4) -> jax.Array:
    """Scales vectors to length one, in float32.

    Args:
      x: float [..., D].
      smallest_norm: vectors shorter than this are divided by it instead, so that values and gradients stay finite at
        zero (a zero vector stays zero).

    Returns:
      float32 [..., D].
    """
    x = x.astype(jnp.float32)
    squared = jnp.sum(x * x, axis=-1, keepdims=True)  # [..., 1]
    return x * jax.lax.rsqrt(jnp.maximum(squared, smallest_norm**2))
