"""Backbones by name, as a config's `backbone` field says it; a family's module is loaded when one of it is made."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from fos_jax.errors import InputError


class Features(NamedTuple):
    """Output of a backbone. map: float [B, h, w, C]; pooled: float [B, C'], one vector for the whole image."""

    map: jax.Array
    pooled: jax.Array


def _small(dtype, axis_name, name):
    from fos_jax.encoders.small import Small

    return Small(dtype=dtype, name=name)


def _resnet(block, stages):
    def make(dtype, axis_name, name):
        from fos_jax.encoders import resnet

        return resnet.ResNet(getattr(resnet, block), stages, dtype, axis_name, name=name)

    return make


def _vit(**sizes):
    def make(dtype, axis_name, name):
        from fos_jax.encoders.vit import VisionTransformer

        return VisionTransformer(**sizes, dtype=dtype, name=name)

    return make


def _efficientnet(**sizes):
    def make(dtype, axis_name, name):
        from fos_jax.encoders.efficientnet import EfficientNetLite

        return EfficientNetLite(**sizes, dtype=dtype, axis_name=axis_name, name=name)

    return make


BACKBONES: dict[str, Callable[..., nn.Module]] = {
    "small": _small,
    "resnet18": _resnet("BasicBlock", (2, 2, 2, 2)),
    "resnet50": _resnet("Bottleneck", (3, 4, 6, 3)),
    "efficientnet_lite0": _efficientnet(),
    "efficientnet_lite2": _efficientnet(width=1.1, depth=1.2),
    "vit_s16": _vit(patch=16, width=384, depth=12, heads=6),
    "vit_b16": _vit(patch=16, width=768, depth=12, heads=12),
    "dinov2_s14": _vit(patch=14, width=384, depth=12, heads=6, layer_scale=1e-5),
    "dinov2_b14": _vit(patch=14, width=768, depth=12, heads=12, layer_scale=1e-5),
    "clip_b32": _vit(patch=32, width=768, depth=12, heads=12, is_clip=True, epsilon=1e-5),
    "clip_b16": _vit(patch=16, width=768, depth=12, heads=12, is_clip=True, epsilon=1e-5),
    "clip_l14": _vit(patch=14, width=1024, depth=24, heads=16, is_clip=True, epsilon=1e-5),
}


def make_backbone(
    name: str, *, dtype: Any = "float32", axis_name: str | None = None, module_name: str = "backbone"
) -> nn.Module:
    """A backbone: a module that maps float [B, S, S, 4] and `train` to `Features`.

    Args:
      name: a key of `BACKBONES`.
      dtype: computation dtype; parameters are float32.
      axis_name: pmap axis over which batch statistics are averaged; None where the whole batch is in one program.
      module_name: its name inside the module that makes it.

    Raises:
      InputError: an unknown name.
    """
    if name not in BACKBONES:
        raise InputError(f"backbone: unknown {name!r}, expected one of {', '.join(BACKBONES)}")
    return BACKBONES[name](jnp.dtype(dtype), axis_name, module_name)
