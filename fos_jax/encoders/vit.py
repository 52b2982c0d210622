"""Vision transformers in the layouts of timm/DINOv2 and of CLIP's vision tower, so that public weights fit.

Sources: Dosovitskiy et al., ICLR 2021; Oquab et al., 2023 (layer scale); Radford et al., ICML 2021 (normalisation
before the blocks, quick GELU). Dropout, stochastic depth and register tokens are left out.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fos_jax.encoders.backbones import Features


def quick_gelu(x: jax.Array) -> jax.Array:
    """x * sigmoid(1.702 x). Source: Radford et al., ICML 2021 (public code)."""
    return x * nn.sigmoid(1.702 * x)


class Attention(nn.Module):
    """Multi-head self-attention, float [B, T, C] to the same; softmax in float32."""

    heads: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, tokens, width = x.shape
        qkv = nn.Dense(3 * width, dtype=self.dtype, name="qkv")(x)
        q, k, v = jnp.moveaxis(qkv.reshape(batch, tokens, 3, self.heads, width // self.heads), 2, 0)  # [B, T, H, d]
        y = jax.nn.dot_product_attention(q, k, v)  # [B, T, H, d]
        return nn.Dense(width, dtype=self.dtype, name="proj")(y.reshape(batch, tokens, width))


class Block(nn.Module):
    """Attention, then a two-layer perceptron, normalised before and added; attributes as in `VisionTransformer`."""

    heads: int
    mlp_ratio: float
    layer_scale: float | None
    is_quick_gelu: bool
    epsilon: float
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width = x.shape[-1]
        y = nn.LayerNorm(epsilon=self.epsilon, dtype=self.dtype, name="norm1")(x)
        x = x + self._scaled("ls1", Attention(self.heads, self.dtype, name="attn")(y))
        y = nn.LayerNorm(epsilon=self.epsilon, dtype=self.dtype, name="norm2")(x)
        y = nn.Dense(int(width * self.mlp_ratio), dtype=self.dtype, name="fc1")(y)
        y = quick_gelu(y) if self.is_quick_gelu else nn.gelu(y, approximate=False)
        return x + self._scaled("ls2", nn.Dense(width, dtype=self.dtype, name="fc2")(y))

    def _scaled(self, name: str, y: jax.Array) -> jax.Array:
        if self.layer_scale is None:
            return y
        return y * self.param(name, nn.initializers.constant(self.layer_scale), y.shape[-1:]).astype(y.dtype)


class VisionTransformer(nn.Module):
    """Float [B, S, S, channels] to the normalised patch tokens as a map [B, S/patch, S/patch, C] and the class token.

    Attributes:
      patch: side of a patch in pixels; S must be a multiple of it.
      width: C.
      depth: number of blocks.
      heads: number of attention heads.
      mlp_ratio: hidden width of a block's perceptron over C.
      layer_scale: initial layer scale; None for none.
      is_clip: CLIP's variant: normalisation before the blocks, quick GELU, no bias in the patch embedding.
      epsilon: of the layer normalisations.
      dtype: computation dtype; parameters are float32.
    """

    patch: int
    width: int
    depth: int
    heads: int
    mlp_ratio: float = 4.0
    layer_scale: float | None = None
    is_clip: bool = False
    epsilon: float = 1e-6
    dtype: Any = jnp.float32

    @property
    def last_modules(self) -> tuple[str, ...]:
        """Names of the last two blocks and the normalisation behind them."""
        return (f"blocks_{self.depth - 2}", f"blocks_{self.depth - 1}", "norm")

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> Features:
        del train  # nothing differs
        x = nn.Conv(
            self.width,
            (self.patch, self.patch),
            (self.patch, self.patch),
            padding="VALID",
            use_bias=not self.is_clip,
            dtype=self.dtype,
            name="patch_embed",
        )(x.astype(self.dtype))
        batch, height, wide, width = x.shape
        x = x.reshape(batch, height * wide, width)
        class_token = self.param("cls_token", nn.initializers.normal(0.02), (1, 1, width)).astype(x.dtype)
        x = jnp.concatenate([jnp.broadcast_to(class_token, (batch, 1, width)), x], axis=1)  # [B, 1 + hw, C]
        x = x + self.param("pos_embed", nn.initializers.normal(0.02), (1, x.shape[1], width)).astype(x.dtype)
        if self.is_clip:
            x = nn.LayerNorm(epsilon=self.epsilon, dtype=self.dtype, name="pre_norm")(x)
        for index in range(self.depth):
            block = Block(
                self.heads,
                self.mlp_ratio,
                self.layer_scale,
                self.is_clip,
                self.epsilon,
                self.dtype,
                name=f"blocks_{index}",
            )
            x = block(x)
        x = nn.LayerNorm(epsilon=self.epsilon, dtype=self.dtype, name="norm")(x)
        return Features(x[:, 1:].reshape(batch, height, wide, width), x[:, 0])
