"""EfficientNet-Lite in the layout of its public ImageNet weights; its middle maps keep where things are.

The first convolution takes four channels: colours and alpha, or colours and rectangle mask.
Source: Tan & Le, ICML 2019; the Lite variants (no squeeze-and-excitation, ReLU6, stem and head of one width) are
those of TensorFlow's `efficientnet/lite`, whose padding ("SAME") and batch-norm epsilon are kept.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fos_jax.encoders.backbones import Features
from fos_jax.encoders.inputs import DEVIATION, MEAN

STEM_CHANNELS = 32
HEAD_CHANNELS = 1280
# Colours as the public weights saw them: (x - 127) / 128.
_PUBLIC_MEAN, _PUBLIC_DEVIATION = 127.0, 128.0
_GRID = 4  # cells per side of what `Features.pooled` keeps of a map


class Stage(NamedTuple):
    """Blocks of one stage: how many, the depthwise kernel's side, the first block's stride, expansion, channels out."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


def scaled_stages(width: float, depth: float) -> tuple[Stage, ...]:
    """The stages of a Lite variant: channels rounded to 8, all but the first and last stage deeper."""
    last = len(_STAGES) - 1
    return tuple(
        stage._replace(
            repeats=stage.repeats if index in (0, last) else math.ceil(depth * stage.repeats),
            channels=_round_channels(width * stage.channels),
        )
        for index, stage in enumerate(_STAGES)
    )


def _round_channels(channels: float) -> int:
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class DepthwiseConv(nn.Module):
    """One filter per channel, as shifted multiply-adds: XLA runs grouped convolutions on a CPU one group at a time.

    Attributes:
      kernel: side of the filter. stride: of both axes. dtype: computation dtype; the filter is float32.
    """

    kernel: int
    stride: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Float [B, h, w, C] to [B, ceil(h / stride), ceil(w / stride), C], padded as TensorFlow's SAME."""
        channels = x.shape[-1]
        init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
        weight = self.param("kernel", init, (self.kernel, self.kernel, 1, channels)).astype(self.dtype)
        if jax.default_backend() != "cpu":
            strides = (self.stride, self.stride)
            numbers = ("NHWC", "HWIO", "NHWC")
            return jax.lax.conv_general_dilated(
                x, weight, strides, "SAME", dimension_numbers=numbers, feature_group_count=channels
            )
        height, width = (-(-length // self.stride) for length in x.shape[1:3])
        pads = [_same_padding(length, self.kernel, self.stride) for length in x.shape[1:3]]
        x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
        terms = [
            x[
                :,
                i : i + (height - 1) * self.stride + 1 : self.stride,
                j : j + (width - 1) * self.stride + 1 : self.stride,
            ]
            * weight[i, j, 0]
            for i in range(self.kernel)
            for j in range(self.kernel)
        ]
        return sum(terms[1:], terms[0])


def _same_padding(length: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
    return total // 2, total - total // 2


class Block(nn.Module):
    """Inverted bottleneck: widen, filter each channel, narrow; added to the input where the shapes agree.

    Attributes:
      channels: C out. kernel, stride, expansion: as in `Stage`. dtype, axis_name: as in `EfficientNetLite`.
    """

    channels: int
    kernel: int
    stride: int
    expansion: int
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Float [B, h, w, C'] to [B, ceil(h / stride), ceil(w / stride), C]."""
        norm, y = _batch_norm(train, self.dtype, self.axis_name), x
        if self.expansion != 1:
            y = nn.relu6(norm(name="bn0")(_conv(self.expansion * x.shape[-1], 1, self.dtype, name="expand_conv")(y)))
        y = DepthwiseConv(self.kernel, self.stride, self.dtype, name="depthwise_conv")(y)
        y = nn.relu6(norm(name="bn1")(y))
        y = norm(name="bn2")(_conv(self.channels, 1, self.dtype, name="project_conv")(y))
        return x + y if x.shape == y.shape else y


class EfficientNetLite(nn.Module):
    """Float [B, S, S, 4], as `encoders.inputs` makes it, to maps at the end of chosen stages.

    Attributes:
      width, depth: multipliers of the variant: 1 and 1 for Lite0, 1.1 and 1.2 for Lite2.
      taps: numbers of the stages (1 to 7; 8 for the head's convolution) whose maps are wanted, in rising order; nothing
        is computed beyond the last. Stage 3 has 1/8 of the image's resolution, stage 5 1/16, stages 6 to 8 1/32.
      dtype: computation dtype; parameters and batch statistics are float32.
      axis_name: pmap axis over which batch statistics are averaged; None where the whole batch is in one program.
    """

    width: float = 1.0
    depth: float = 1.0
    taps: Sequence[int] = (5,)
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @property
    def last_modules(self) -> tuple[str, ...]:
        """Names of the blocks of the last stage that is computed."""
        last = max(self.taps)
        if last > len(_STAGES):
            return ("head_conv", "head_bn")
        counts = [stage.repeats for stage in scaled_stages(self.width, self.depth)]
        return tuple(f"block{index}" for index in range(sum(counts[: last - 1]), sum(counts[:last])))

    def __call__(self, x: jax.Array, train: bool = False) -> Features:
        """The last tap's map, and all taps' maps averaged in 4 x 4 cells, flattened and joined.

        Viewpoint lives in the middle of the network and in the layout, which a global mean would throw away.
        """
        maps = self.maps(x, train)
        cells = [pooled_cells(m, _GRID).reshape(len(m), -1) for m in maps]
        return Features(maps[-1], jnp.concatenate(cells, axis=-1))

    @nn.compact
    def maps(self, x: jax.Array, train: bool = False) -> list[jax.Array]:
        """float [B, h, w, C] for each tap."""
        norm, wanted = _batch_norm(train, self.dtype, self.axis_name), set(self.taps)
        colours = (x[..., :3] * DEVIATION + (MEAN - _PUBLIC_MEAN)) / _PUBLIC_DEVIATION
        x = jnp.concatenate([colours, x[..., 3:]], axis=-1).astype(self.dtype)
        x = nn.relu6(norm(name="stem_bn")(_conv(STEM_CHANNELS, 3, self.dtype, stride=2, name="stem_conv")(x)))
        found, index = [], 0
        for number, stage in enumerate(scaled_stages(self.width, self.depth), start=1):
            for repeat in range(stage.repeats):
                stride = stage.stride if repeat == 0 else 1
                x = Block(
                    stage.channels,
                    stage.kernel,
                    stride,
                    stage.expansion,
                    self.dtype,
                    self.axis_name,
                    name=f"block{index}",
                )(x, train)
                index += 1
            if number in wanted:
                found.append(x)
            if number == max(wanted):
                return found
        head = _conv(HEAD_CHANNELS, 1, self.dtype, name="head_conv")(x)
        return [*found, nn.relu6(norm(name="head_bn")(head))]


def pooled_cells(feature_map: jax.Array, cells: int) -> jax.Array:
    """Means over a grid of cells of equal area, float32 [B, h, w, C] to [B, cells, cells, C]; cells may cut pixels."""
    rows, columns = (jnp.asarray(_cell_weights(length, cells)) for length in feature_map.shape[1:3])
    return jnp.einsum("ih,bhwc,jw->bijc", rows, feature_map.astype(jnp.float32), columns)


def _cell_weights(length: int, cells: int) -> np.ndarray:
    """float32 [cells, length]: which share of each cell every pixel is."""
    edges = np.linspace(0, length, cells + 1)
    pixels = np.arange(length)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (np.clip(overlap, 0, None) * cells / length).astype(np.float32)


def _conv(features: int, kernel: int, dtype: Any, *, stride: int = 1, name: str) -> nn.Conv:
    init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
    sides, strides = (kernel, kernel), (stride, stride)
    return nn.Conv(features, sides, strides, "SAME", use_bias=False, dtype=dtype, kernel_init=init, name=name)


def _batch_norm(train: bool, dtype: Any, axis_name: str | None) -> Any:
    """Batch normalisation with the public weights' constants; statistics of the batch where `train`."""
    return partial(
        nn.BatchNorm, use_running_average=not train, momentum=0.99, epsilon=1e-3, dtype=dtype, axis_name=axis_name
    )
