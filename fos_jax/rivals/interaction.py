"""The interaction of both encoders' features: what a composite's feature would be, without making the composite."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fos_jax.encoders.inputs import crop_around
from fos_jax.rivals.composite import PairOutput, standardised

_MAPS = ("backbone", "backbone_frame")  # the foreground encoder's backbone, and that of a query's whole frame


class InteractionNetwork(nn.Module):
    """Feature and logit of pairs, from the encoders' maps and embeddings.

    The query's map is cut to a window around the rectangle, the foreground's map is laid over it, and the two go
    through a convolution and a layer at each place before the places are averaged. The convolution of two maps on top
    of each other is the sum of one of each, so Q + G maps are convolved instead of Q x G.

    Attributes:
      feature_size: F, the discriminator's.
      hidden_size: H, channels of what interacts.
      side: k, side of the maps laid over each other.
      context: side of the window in lengths of the rectangle's longer side.

    Source: DiscoFOS (Zhang et al., ICCV 2023) and its public code: maps laid over each other in the region around the
    rectangle, convolutions, a classifier; the embeddings beside the maps, the product beside the sum and the rest are
    choices (decision 20).
    """

    feature_size: int = 128
    hidden_size: int = 96
    side: int = 6
    context: float = 2.0

    def setup(self) -> None:
        self.query_map = nn.Conv(self.hidden_size, (3, 3))
        self.query_vector = nn.Dense(self.hidden_size)
        self.foreground_map = nn.Conv(self.hidden_size, (3, 3))
        self.foreground_vector = nn.Dense(self.hidden_size)
        self.place = nn.Dense(self.hidden_size)
        self.feature = nn.Dense(self.feature_size)
        self.logit = nn.Dense(1)

    def of_queries(self, features: jax.Array, box_yxyx_norm: jax.Array, embedding: jax.Array) -> jax.Array:
        """A query's share: float [B, h, w, C], float32 [B, 4], float32 [B, D] to float32 [B, k, k, H]."""
        window = crop_around(features, box_yxyx_norm, size=self.side, context=self.context)
        return self.query_map(window) + self.query_vector(embedding)[:, None, None, :]

    def of_foregrounds(self, features: jax.Array, embedding: jax.Array) -> jax.Array:
        """A foreground's share: float [B, h, w, C], float32 [B, D] to float32 [B, k, k, H]."""
        batch, height, width, channels = features.shape
        if (height, width) != (self.side, self.side):
            features = jax.image.resize(features, (batch, self.side, self.side, channels), method="linear")
        return self.foreground_map(features) + self.foreground_vector(embedding)[:, None, None, :]

    def pairs(self, query: jax.Array, foreground: jax.Array) -> PairOutput:
        """Both shares, float32 [..., k, k, H] that broadcast, to features [..., F] and logits [...]."""
        hidden = nn.gelu(query + foreground + query * foreground)
        pooled = nn.gelu(self.place(hidden)).mean(axis=(-3, -2))  # [..., H]
        feature = standardised(self.feature(pooled))
        return PairOutput(feature, self.logit(feature)[..., 0])

    def __call__(
        self,
        query_map: jax.Array,
        box_yxyx_norm: jax.Array,
        query_embedding: jax.Array,
        foreground_map: jax.Array,
        foreground_embedding: jax.Array,
    ) -> PairOutput:
        """Row by row: a query and a foreground each."""
        query = self.of_queries(query_map, box_yxyx_norm, query_embedding)
        return self.pairs(query, self.of_foregrounds(foreground_map, foreground_embedding))


def apply_with_map(
    encoder: nn.Module, variables: Mapping[str, Any], *inputs: jax.Array, train: bool = False
) -> tuple[Any, jax.Array, Any]:
    """An encoder's output, the map of its backbone, and its new batch statistics.

    Args:
      encoder: a foreground encoder, or a query encoder that has the view "frame".
      variables: `params` and, where there are any, `batch_stats`.
      inputs: of the encoder.
      train: whether batch statistics are those of the batch.

    Returns:
      output; float32 [B, h, w, C]; batch statistics, empty where there are none.
    """
    mutable = ["intermediates", *(["batch_stats"] if train and variables.get("batch_stats") else [])]
    output, state = encoder.apply(
        variables,
        *inputs,
        train=train,
        mutable=mutable,
        capture_intermediates=lambda module, method: module.name in _MAPS and method == "__call__",
    )
    (kept,) = state["intermediates"].values()
    (features,) = kept["__call__"]
    return output, features.map.astype(jnp.float32), state.get("batch_stats", {})
