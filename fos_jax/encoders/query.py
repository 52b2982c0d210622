"""The query encoder (student): background, rectangle, category -> embedding in the teacher's space, and posteriors."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from fos_jax.encoders import extras
from fos_jax.encoders.backbones import make_backbone
from fos_jax.encoders.inputs import query_input
from fos_jax.errors import InputError
from fos_jax.posteriors import pattern_log_posterior, unit


class QueryOutput(NamedTuple):
    """embedding: float32 [B, D], unit; pattern_logits: float32 [B, P]; attribute_logits: float32 [B, V]."""

    embedding: jax.Array
    pattern_logits: jax.Array
    attribute_logits: jax.Array


class QueryEncoder(nn.Module):
    """One backbone per view, conditioned on category and rectangle, with three linear heads on a shared layer.

    The condition modulates each position of the feature map (FiLM) before pooling, so that a category can choose what
    it looks at: a road's direction matters to a car, a table's edge to a bottle. It is also concatenated to the pooled
    features, so that categories and rectangles have their own prior.

    The pattern head is linear in the shared layer, not a cosine to prototypes: several far apart patterns may fit one
    query, which no single vector on the sphere can be close to. The embedding lives in the teacher's space. It has a
    head of its own, or is read out of the pattern posterior: one vector per pattern, summed in proportion. A query that
    cannot tell some patterns apart then points between their vectors by construction, and what the posterior learns
    the embedding knows.

    Attributes:
      num_categories: C.
      category_of_pattern: int [P], the category of each pattern; empty for data sets labelled by pairs.
      num_attribute_values: V; 0 where patterns carry no attributes.
      embedding_size: D, the teacher's.
      backbone: a name of `encoders.backbones`.
      views: some of "frame", "crop"; empty for the control that sees rectangle and category only.
      crop_size: side of the crop view in pixels; None for the image's.
      crop_context: side of the crop window in lengths of the rectangle's longer side.
      hidden_size: width of the shared layer.
      condition_size: width of the category and rectangle embedding.
      fusion: "film" as above, or a registered fusion (`extras`) of pooled features and the same condition.
      fusion_size: numbers in the sketch.
      uses_category: whether the condition holds the category; the rectangle is always in it.
      readout: "head", or "patterns" for an embedding read out of the pattern posterior.
      tuned: what of the backbones is trained; unless "all", their batch statistics stay as they are in training too.
      dtype: computation dtype of the backbones; parameters and outputs are float32.
      axis_name: pmap axis over which batch statistics are averaged; None where the whole batch is in one program.

    Source: decisions 2 to 6; FiLM: Perez et al., AAAI 2018.
    """

    num_categories: int
    category_of_pattern: tuple[int, ...]
    num_attribute_values: int
    embedding_size: int = 128
    backbone: str = "small"
    views: tuple[str, ...] = ("frame",)
    crop_size: int | None = None
    crop_context: float = 2.0
    hidden_size: int = 256
    condition_size: int = 64
    fusion: str = "film"
    fusion_size: int = 2048
    uses_category: bool = True
    readout: str = "head"
    tuned: str = "all"
    dtype: str = "float32"
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, image: jax.Array, box_yxyx_norm: jax.Array, category: jax.Array, train: bool = False
    ) -> QueryOutput:
        """Encodes queries.

        Args:
          image: uint8 (or float in 0..255) [B, S, S, 3]; not read where there are no views.
          box_yxyx_norm: float32 [B, 4].
          category: int32 [B].
          train: whether batch statistics are those of the batch (and are updated).
        """
        inputs = query_input(
            image, box_yxyx_norm, views=self.views, crop_size=self.crop_size, crop_context=self.crop_context
        )
        conditions = [nn.gelu(nn.Dense(self.condition_size, name="box")(box_numbers(box_yxyx_norm)))]
        if self.uses_category:
            conditions.insert(0, nn.Embed(self.num_categories, self.condition_size, name="category")(category))
        condition = nn.gelu(nn.Dense(self.condition_size, name="condition")(jnp.concatenate(conditions, -1)))
        parts = [condition]
        for view, x in inputs.items():
            backbone = make_backbone(
                self.backbone, dtype=self.dtype, axis_name=self.axis_name, module_name=f"backbone_{view}"
            )
            features = backbone(x, train and self.tuned == "all")
            if self.fusion != "film":
                fuse = extras.load(extras.FUSIONS, self.fusion)
                parts.append(fuse(features.pooled, condition, size=self.fusion_size))
                continue
            channels = features.map.shape[-1]
            film = nn.Dense(2 * channels, name=f"film_{view}", kernel_init=nn.initializers.zeros_init())(condition)
            gain, offset = jnp.split(film[:, None, None, :].astype(features.map.dtype), 2, axis=-1)  # [B, 1, 1, C]
            parts.append(nn.gelu(features.map * (1 + gain) + offset).astype(jnp.float32).mean((1, 2)))
            parts.append(features.pooled.astype(jnp.float32))
        shared = nn.gelu(nn.Dense(self.hidden_size, name="shared")(jnp.concatenate(parts, axis=-1)))
        num_patterns = len(self.category_of_pattern)
        pattern_logits = jnp.zeros((shared.shape[0], 0))
        if num_patterns:
            pattern_logits = nn.Dense(num_patterns, name="pattern")(shared)
        if self.readout == "patterns":
            posterior = jnp.exp(pattern_log_posterior(pattern_logits, category, jnp.asarray(self.category_of_pattern)))
            init = nn.initializers.normal(self.embedding_size**-0.5)
            embedding = posterior @ self.param("readout", init, (num_patterns, self.embedding_size))
        else:
            embedding = nn.Dense(self.embedding_size, name="embedding")(shared)
        return QueryOutput(
            embedding=unit(embedding),
            pattern_logits=pattern_logits,
            attribute_logits=nn.Dense(self.num_attribute_values, name="attribute")(shared)
            if self.num_attribute_values
            else jnp.zeros((shared.shape[0], 0)),
        )


def box_numbers(box_yxyx_norm: jax.Array) -> jax.Array:
    """Rectangle float32 [B, 4] as numbers of about unit size, float32 [B, 8]: corners, size, log size (floored)."""
    box = box_yxyx_norm.astype(jnp.float32)
    size = box[:, 2:] - box[:, :2]
    return jnp.concatenate([2 * box - 1, 2 * size - 1, jnp.log(jnp.maximum(size, 1e-3)) + 1], axis=-1)


def make_query_encoder(
    fields: Mapping[str, Any],
    *,
    num_categories: int,
    category_of_pattern: tuple[int, ...],
    num_attribute_values: int,
    embedding_size: int,
    axis_name: str | None = None,
) -> QueryEncoder:
    """The encoder that the complete fields of `config.query` describe; `InputError` without patterns to read out."""
    if fields["readout"] == "patterns" and not category_of_pattern:
        raise InputError("config: query.readout: 'patterns', expected 'head' for a data set without patterns")
    return QueryEncoder(
        num_categories=num_categories,
        category_of_pattern=category_of_pattern,
        num_attribute_values=num_attribute_values,
        embedding_size=embedding_size,
        backbone=fields["backbone"],
        views=fields["views"],
        crop_size=fields["crop_size"],
        crop_context=fields["crop_context"],
        hidden_size=fields["hidden_size"],
        condition_size=fields["condition_size"],
        fusion=fields["fusion"],
        fusion_size=fields["fusion_size"],
        uses_category=fields["uses_category"],
        readout=fields["readout"],
        tuned=fields["tuned"],
        dtype=fields["dtype"],
        axis_name=axis_name,
    )
