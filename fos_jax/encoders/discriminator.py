"""The discriminator of composites: does this cut-out fit, pasted there? One pass of a backbone a pair."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from fos_jax.encoders.backbones import make_backbone
from fos_jax.encoders.composites import composite_input
from fos_jax.encoders.query import box_numbers


class PairOutput(NamedTuple):
    """feature: float32 [..., F], what the logit is linear in; logit: float32 [...], of fitting."""

    feature: jax.Array
    logit: jax.Array


class CompositeDiscriminator(nn.Module):
    """Backbone on the composite and the rectangle's mask, conditioned on category and rectangle as a query encoder is.

    The feature has mean 0 and variance 1 within each row, so that a student can match it whatever its scale.

    Attributes:
      num_categories: C.
      feature_size: F.
      backbone: a name of `encoders.backbones`.
      condition_size: width of the category and rectangle embedding.
      dtype: computation dtype of the backbone; parameters and outputs are float32.
      axis_name: pmap axis over which batch statistics are averaged; None where the whole batch is in one program.

    Source: DiscoFOS (Zhang et al., ICCV 2023): a classifier of composites; the condition and the normalisation are
    design decisions.
    """

    num_categories: int
    feature_size: int = 128
    backbone: str = "small"
    condition_size: int = 64
    dtype: str = "float32"
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self,
        image: jax.Array,
        box_yxyx_norm: jax.Array,
        category: jax.Array,
        foreground: jax.Array,
        train: bool = False,
    ) -> PairOutput:
        """Judges composites.

        Args:
          image: uint8 (or float in 0..255) [B, S, S, 3].
          box_yxyx_norm: float32 [B, 4].
          category: int32 [B].
          foreground: uint8 (or float in 0..255) [B, F, F, 4].
          train: whether batch statistics are those of the batch (and are updated).
        """
        x = composite_input(image, box_yxyx_norm, foreground)
        of_category = nn.Embed(self.num_categories, self.condition_size, name="category")(category)
        of_box = nn.gelu(nn.Dense(self.condition_size, name="box")(box_numbers(box_yxyx_norm)))
        condition = nn.gelu(
            nn.Dense(self.condition_size, name="condition")(jnp.concatenate([of_category, of_box], axis=-1))
        )
        features = make_backbone(self.backbone, dtype=self.dtype, axis_name=self.axis_name)(x, train)
        channels = features.map.shape[-1]
        film = nn.Dense(2 * channels, name="film", kernel_init=nn.initializers.zeros_init())(condition)
        gain, offset = jnp.split(film[:, None, None, :].astype(features.map.dtype), 2, axis=-1)  # [B, 1, 1, C]
        modulated = nn.gelu(features.map * (1 + gain) + offset).astype(jnp.float32).mean((1, 2))
        parts = [condition, modulated, features.pooled.astype(jnp.float32)]
        hidden = nn.gelu(nn.Dense(self.feature_size, name="hidden")(jnp.concatenate(parts, axis=-1)))
        feature = standardised(nn.Dense(self.feature_size, name="feature")(hidden))
        return PairOutput(feature, nn.Dense(1, name="logit")(feature)[..., 0])


def standardised(x: jax.Array) -> jax.Array:
    """Each row with mean 0 and variance 1: float32 [..., F] to the same, finite gradients where all are equal."""
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + 1e-5)
