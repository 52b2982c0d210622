"""Composites inside the step, and the discriminator that judges them: one pass of a backbone per pair.

Cut-outs are pasted into the rectangles of backgrounds as an image model sees them: what `compose.paste_cutout` does to
a photograph, for batches and in jax.numpy. The rectangle is filled with the mean colour first, as it is for query
encoders: nobody sees what lies in it.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from fos_jax.encoders.backbones import make_backbone
from fos_jax.encoders.inputs import foreground_input, normalise, rectangle_mask
from fos_jax.encoders.query import box_numbers

_VISIBLE_ALPHA = 8  # as in `images.visible_box_xyxy_px`


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
    choices (decision 20).
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


def composite_input(image: jax.Array, box_yxyx_norm: jax.Array, foreground: jax.Array) -> jax.Array:
    """Model input of composites.

    Args:
      image: uint8 (or float in 0..255) [B, S, S, 3], backgrounds.
      box_yxyx_norm: float32 [B, 4], the rectangles.
      foreground: uint8 (or float in 0..255) [B, F, F, 4], cut-outs matted on the mean colour.

    Returns:
      float32 [B, S, S, 4]: normalised colours of the composite, and the rectangle's mask.

    Source: DiscoFOS (Zhang et al., ICCV 2023) judges composites; decision 20.
    """
    size = image.shape[1]
    mask = rectangle_mask(box_yxyx_norm, size)[..., None]  # [B, S, S, 1]
    is_visible = foreground[..., 3] >= _VISIBLE_ALPHA
    layer = placed(foreground_input(foreground), is_visible, box_yxyx_norm, size) * mask  # [B, S, S, 4]
    # The mean colour is 0 here, so a cut-out matted on it is premultiplied by its alpha.
    colours = normalise(image) * (1.0 - mask) * (1.0 - layer[..., 3:]) + layer[..., :3]
    return jnp.concatenate([colours, mask], axis=-1)


def placed(layer: jax.Array, is_visible: jax.Array, box_yxyx_norm: jax.Array, size: int) -> jax.Array:
    """What is visible of each layer, fitted into its rectangle with its aspect kept, at the bottom centre.

    Args:
      layer: float32 [B, F, F, C], premultiplied.
      is_visible: bool [B, F, F]; where nothing is, the whole layer counts.
      box_yxyx_norm: float32 [B, 4].
      size: side of the result in pixels.

    Returns:
      float32 [B, size, size, C], 0 outside; antialiased, bilinear.

    Source: decision 29.
    """
    low, high = _extent(is_visible)  # [B, 2]
    box_px = box_yxyx_norm.astype(jnp.float32) * size
    box_size = jnp.maximum(box_px[:, 2:] - box_px[:, :2], 1.0)
    scale = jnp.min(box_size / (high - low), axis=1)  # [B]
    shift_y = box_px[:, 2] - scale * high[:, 0]
    shift_x = (box_px[:, 1] + box_px[:, 3]) / 2 - scale * (low[:, 1] + high[:, 1]) / 2

    def one(layer: jax.Array, scale: jax.Array, shift: jax.Array) -> jax.Array:
        shape = (size, size, layer.shape[-1])
        return jax.image.scale_and_translate(layer, shape, (0, 1), jnp.stack([scale, scale]), shift, method="linear")

    return jax.vmap(one)(layer, scale, jnp.stack([shift_y, shift_x], axis=1))


def _extent(is_visible: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Half-open bounds (y, x) of what is visible: two float32 [B, 2]."""
    size = is_visible.shape[1]
    along = jnp.stack([is_visible.any(axis=2), is_visible.any(axis=1)], axis=1)  # [B, 2, F]
    low = jnp.argmax(along, axis=2)
    high = size - jnp.argmax(along[:, :, ::-1], axis=2)
    return low.astype(jnp.float32), high.astype(jnp.float32)
