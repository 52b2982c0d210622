"""Unit vectors."""

import jax
import jax.numpy as jnp


def unit(x: jax.Array, *, smallest_norm: float = 1e-4) -> jax.Array:
    """Scales vectors to length one, in float32.

    Args:
      x: float [..., D].
      smallest_norm: vectors shorter than this are divided by it instead, so that values and gradients stay finite at
        zero (a zero vector stays zero).

    Returns:
      float32 [..., D].

    Source: design decision.
    """
    x = x.astype(jnp.float32)
    squared = jnp.sum(x * x, axis=-1, keepdims=True)  # [..., 1]
    return x * jax.lax.rsqrt(jnp.maximum(squared, smallest_norm**2))
