"""The foreground encoder (teacher): from a cut-out to a unit embedding and its cosine to each prototype."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from fos_jax.encoders import extras
from fos_jax.encoders.backbones import make_backbone
from fos_jax.encoders.inputs import foreground_input
from fos_jax.errors import InputError
from fos_jax.posteriors import unit


class ForegroundOutput(NamedTuple):
    """embedding: float32 [B, D], unit; cosine: float32 [B, P], to the normalised prototypes."""

    embedding: jax.Array
    cosine: jax.Array


class ForegroundEncoder(nn.Module):
    """Backbone, one linear layer, unit length; prototypes are the class weights of the pattern softmax.

    Attributes:
      num_patterns: P; 0 for data sets labelled by pairs.
      embedding_size: D.
      backbone: a name of `encoders.backbones`.
      num_categories: C, read where the category is fused.
      fusion: "none", or a registered fusion (`extras`) of pooled features and an embedding of the category.
      fusion_size: numbers in the sketch.
      condition_size: width of the category's embedding.
      tuned: what of the backbone is trained; unless "all", its batch statistics stay as they are in training too.
      dtype: computation dtype of the backbone, "float32" or "bfloat16"; parameters and outputs are float32.
      axis_name: pmap axis over which batch statistics are averaged; None where the whole batch is in one program.

    Source: decisions 1, 3.
    """

    num_patterns: int
    embedding_size: int = 128
    backbone: str = "small"
    num_categories: int = 0
    fusion: str = "none"
    fusion_size: int = 2048
    condition_size: int = 64
    tuned: str = "all"
    dtype: str = "float32"
    axis_name: str | None = None

    @nn.compact
    def __call__(self, image: jax.Array, category: jax.Array | None = None, *, train: bool = False) -> ForegroundOutput:
        """Encodes cut-outs: uint8 (or float in 0..255) [B, S, S, 4], matted on the mean colour.

        Their category, int32 [B], is read by a fusion only; `InputError` where that has none.
        """
        x = foreground_input(image)
        backbone = make_backbone(self.backbone, dtype=self.dtype, axis_name=self.axis_name)
        features = backbone(x, train and self.tuned == "all")
        pooled = features.pooled.astype(jnp.float32)
        if self.fusion != "none":
            if category is None:
                raise InputError(
                    f"config: foreground.fusion: {self.fusion!r}, but this method gives no categories to it"
                )
            condition = nn.Embed(self.num_categories, self.condition_size, name="category")(category)
            pooled = extras.load(extras.FUSIONS, self.fusion)(pooled, condition, size=self.fusion_size)
        embedding = unit(nn.Dense(self.embedding_size, name="embedding")(pooled))
        init = nn.initializers.normal(self.embedding_size**-0.5)
        shape = (self.num_patterns, self.embedding_size)
        # Checkpoints refuse arrays without entries: a data set labelled by pairs has no patterns.
        prototypes = self.param("prototypes", init, shape) if self.num_patterns else jnp.zeros(shape)
        return ForegroundOutput(embedding, embedding @ unit(prototypes).T)


def make_foreground_encoder(
    fields: Mapping[str, Any], *, num_patterns: int, num_categories: int = 0, axis_name: str | None = None
) -> ForegroundEncoder:
    """The encoder that the complete fields of `config.foreground` describe."""
    return ForegroundEncoder(
        num_patterns=num_patterns,
        embedding_size=fields["embedding_size"],
        backbone=fields["backbone"],
        num_categories=num_categories,
        fusion=fields["fusion"],
        fusion_size=fields["fusion_size"],
        tuned=fields["tuned"],
        dtype=fields["dtype"],
        axis_name=axis_name,
    )
