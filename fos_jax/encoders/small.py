"""The small backbone for a CPU: 4x4 patches, then residual 3x3 convolutions; the map never gets below S/8."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fos_jax.encoders.features import Features


class SmallBlock(nn.Module):
    """Residual block."""

    width: int
    stride: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = nn.relu(nn.GroupNorm(8, dtype=self.dtype)(x))
        if self.stride > 1 or x.shape[-1] != self.width:
            x = nn.Conv(self.width, (self.stride,) * 2, (self.stride,) * 2, dtype=self.dtype)(y)
        y = nn.Conv(self.width, (3, 3), (self.stride,) * 2, dtype=self.dtype)(y)
        y = nn.relu(nn.GroupNorm(8, dtype=self.dtype)(y))
        return x + nn.Conv(self.width, (3, 3), dtype=self.dtype)(y)


class Small(nn.Module):
    """Float [B, S, S, channels] to a map [B, S/8, S/8, 128] and its mean."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> Features:
        del train  # nothing differs
        x = nn.Conv(48, (4, 4), (4, 4), padding="VALID", dtype=self.dtype)(x.astype(self.dtype))
        for width, stride in ((48, 1), (96, 2), (128, 1)):
            x = SmallBlock(width, stride, self.dtype)(x)
        x = nn.relu(nn.GroupNorm(8, dtype=self.dtype)(x))
        return Features(x, x.mean((1, 2)))
