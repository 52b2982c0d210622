"""The small backbone: two patch layers down to S/8, then residual 3x3 convolutions on a map that is never tiny.

What suits XLA on a CPU decides its shape, as measured there (one core, batch 64): a 3x3 convolution and its input
gradient run at about 100 GFLOP/s, as fast as matrix products, but the kernel's gradient at 75 on an 8 x 8 map, 43 on
12 x 12 and 27 on 16 x 16. Hence patch layers (matrix products) down to S/8, and all 3x3 convolutions there. Shifted
copies and a matrix product instead of a convolution were slower: the copies cost more than the product.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fos_jax.encoders.backbones import Features

GROUPS = 8


class SmallBlock(nn.Module):
    """Residual block of two 3x3 convolutions, normalised before: float [B, h, w, width] to the same."""

    width: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = nn.relu(nn.GroupNorm(GROUPS, dtype=self.dtype, name="norm1")(x))
        y = nn.Conv(self.width, (3, 3), dtype=self.dtype, name="conv1")(y)
        y = nn.relu(nn.GroupNorm(GROUPS, dtype=self.dtype, name="norm2")(y))
        return x + nn.Conv(self.width, (3, 3), dtype=self.dtype, name="conv2")(y)


class Small(nn.Module):
    """Float [B, S, S, channels] to a map [B, S/8, S/8, width] and its mean; S must be a multiple of 8.

    Attributes:
      stem_width: channels of the 4x4 patches.
      width: channels of the map.
      depth: number of residual blocks.
      dtype: computation dtype; parameters are float32.

    Source: decision 3; residual blocks: He et al., ECCV 2016.
    """

    stem_width: int = 48
    width: int = 96
    depth: int = 3
    dtype: Any = jnp.float32

    @property
    def last_modules(self) -> tuple[str, ...]:
        """Names of the last block and the normalisation behind it."""
        return (f"block_{self.depth - 1}", "norm")

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> Features:
        del train  # nothing differs
        x = nn.Dense(self.stem_width, dtype=self.dtype, name="stem")(patches(x.astype(self.dtype), 4))
        x = nn.relu(nn.GroupNorm(GROUPS, dtype=self.dtype, name="stem_norm")(x))
        x = nn.Dense(self.width, dtype=self.dtype, name="merge")(patches(x, 2))  # [B, S/8, S/8, width]
        for index in range(self.depth):
            x = SmallBlock(self.width, self.dtype, name=f"block_{index}")(x)
        x = nn.relu(nn.GroupNorm(GROUPS, dtype=self.dtype, name="norm")(x))
        return Features(x, x.mean((1, 2)))


def patches(x: jax.Array, side: int) -> jax.Array:
    """Non-overlapping patches as channels: float [B, h, w, c] to [B, h/side, w/side, side * side * c]."""
    batch, height, width, channels = x.shape
    if height % side or width % side:
        raise ValueError(f"x: {height} x {width}, expected multiples of {side}")
    x = x.reshape(batch, height // side, side, width // side, side, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height // side, width // side, side * side * channels)
