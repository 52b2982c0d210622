"""ResNet-18 and ResNet-50 in torchvision's layout (stride in the 3x3 convolution), so that public weights fit.

The first convolution takes four channels: colours and alpha, or colours and rectangle mask.
Source: He et al., CVPR 2016; the layout is that of torchvision's and timm's `resnet18` and `resnet50` state dicts.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fos_jax.encoders.backbones import Features

conv = partial(nn.Conv, use_bias=False, kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "normal"))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; attributes as in `ResNet`."""

    width: int
    stride: int
    dtype: Any
    axis_name: str | None
    expansion = 1

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        norm = batch_norm(train, self.dtype, self.axis_name)
        strides = (self.stride, self.stride)
        y = conv(self.width, (3, 3), strides, padding=1, dtype=self.dtype, name="conv1")(x)
        y = nn.relu(norm(name="bn1")(y))
        y = conv(self.width, (3, 3), padding=1, dtype=self.dtype, name="conv2")(y)
        y = norm(name="bn2")(y)
        if x.shape != y.shape:
            x = conv(self.width, (1, 1), strides, padding=0, dtype=self.dtype, name="downsample_conv")(x)
            x = norm(name="downsample_bn")(x)
        return nn.relu(x + y)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions; attributes as in `ResNet`."""

    width: int
    stride: int
    dtype: Any
    axis_name: str | None
    expansion = 4

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        norm = batch_norm(train, self.dtype, self.axis_name)
        strides = (self.stride, self.stride)
        y = conv(self.width, (1, 1), dtype=self.dtype, name="conv1")(x)
        y = nn.relu(norm(name="bn1")(y))
        y = conv(self.width, (3, 3), strides, padding=1, dtype=self.dtype, name="conv2")(y)
        y = nn.relu(norm(name="bn2")(y))
        y = conv(4 * self.width, (1, 1), dtype=self.dtype, name="conv3")(y)
        y = norm(name="bn3")(y)
        if x.shape != y.shape:
            x = conv(4 * self.width, (1, 1), strides, padding=0, dtype=self.dtype, name="downsample_conv")(x)
            x = norm(name="downsample_bn")(x)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """Float [B, S, S, channels] to the last feature map [B, S/32, S/32, C] and its mean.

    Attributes:
      block: BasicBlock or Bottleneck.
      stages: number of blocks in each of the four stages.
      dtype: computation dtype; parameters and batch statistics are float32.
      axis_name: pmap axis over which batch statistics are averaged; None where the whole batch is in one program.
    """

    block: type[BasicBlock] | type[Bottleneck]
    stages: Sequence[int]
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @property
    def last_modules(self) -> tuple[str, ...]:
        """Names of the last stage's blocks."""
        return tuple(f"layer{len(self.stages)}_{index}" for index in range(self.stages[-1]))

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> Features:
        norm = batch_norm(train, self.dtype, self.axis_name)
        x = conv(64, (7, 7), (2, 2), padding=3, dtype=self.dtype, name="conv1")(x.astype(self.dtype))
        x = nn.relu(norm(name="bn1")(x))
        x = nn.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
        for stage, blocks in enumerate(self.stages):
            for index in range(blocks):
                stride = 2 if stage > 0 and index == 0 else 1
                name = f"layer{stage + 1}_{index}"
                x = self.block(64 * 2**stage, stride, self.dtype, self.axis_name, name=name)(x, train)
        return Features(x, x.mean((1, 2)))


def batch_norm(train: bool, dtype: Any, axis_name: str | None):
    """Batch normalisation with torch's constants; statistics of the batch where `train`."""
    return partial(
        nn.BatchNorm, use_running_average=not train, momentum=0.9, epsilon=1e-5, dtype=dtype, axis_name=axis_name
    )
