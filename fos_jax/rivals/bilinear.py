"""Compact bilinear pooling: all products of two vectors' entries, hashed into a few numbers.

The outer product of two vectors holds every interaction of theirs and is far too long. Its count sketch is the circular
convolution of the vectors' own count sketches, hence a product in the Fourier domain; inner products of sketches equal
those of the outer products in expectation.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from fos_jax.posteriors import unit


def bilinear_fusion(pooled: jax.Array, condition: jax.Array, *, size: int) -> jax.Array:
    """The fusion "bilinear" of encoders: float [B, m] and [B, n] to float32 [B, size], unit.

    Source: CFO-Search (Zhao et al., ECCV 2018).
    """
    return signed_root(compact_bilinear(pooled, condition, size=size))


def compact_bilinear(a: jax.Array, b: jax.Array, *, size: int, seed: int = 0) -> jax.Array:
    """Count sketch of the outer products of rows.

    Args:
      a: float [B, m].
      b: float [B, n].
      size: numbers in the sketch.
      seed: of the two hashes; a trained model depends on it.

    Returns:
      float32 [B, size].

    Raises:
      ValueError: `size` is less than 1.

    Source: Gao et al., Compact Bilinear Pooling, CVPR 2016; Pham & Pagh, Fast and Scalable Polynomial Kernels via
    Explicit Feature Maps, KDD 2013 (tensor sketch).
    """
    if size < 1:
        raise ValueError(f"size is {size}, expected at least 1")
    of_a = jnp.fft.rfft(count_sketch(a, *sketch_hashes(a.shape[-1], size, seed=2 * seed)), axis=-1)
    of_b = jnp.fft.rfft(count_sketch(b, *sketch_hashes(b.shape[-1], size, seed=2 * seed + 1)), axis=-1)
    return jnp.fft.irfft(of_a * of_b, n=size, axis=-1)


def count_sketch(x: jax.Array, place: np.ndarray, sign: np.ndarray, size: int) -> jax.Array:
    """Adds entry i, times sign[i], at place[i]: float [B, m] to float32 [B, size]."""
    return jnp.zeros((*x.shape[:-1], size), jnp.float32).at[..., place].add(x.astype(jnp.float32) * sign)


@functools.cache
def sketch_hashes(length: int, size: int, *, seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Random places int32 [length] in 0..size-1 and signs float32 [length], +1 or -1; and `size`.

    Of numpy's legacy generator, whose stream is frozen: a bundle does not store them, so they must never change.
    """
    draw = np.random.RandomState(seed)
    place = draw.randint(0, size, length).astype(np.int32)
    return place, (2.0 * draw.randint(0, 2, length) - 1.0).astype(np.float32), size


def signed_root(x: jax.Array, *, softness: float = 1e-4) -> jax.Array:
    """Signed square root of each entry, then unit length, as usual after bilinear pooling: float [..., D] to float32.

    Args:
      x: float [..., D].
      softness: below its root, entries pass linearly, so that gradients stay finite at zero.

    Source: Gao et al., CVPR 2016 (root and length); decision 20 (softness).
    """
    x = x.astype(jnp.float32)
    return unit(x * jax.lax.rsqrt(jnp.abs(x) + softness))
