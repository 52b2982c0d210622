"""Pretraining the teacher: foregrounds of one pattern together, patterns of one category apart."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from fos_jax import losses
from fos_jax.encoders.foreground import ForegroundEncoder
from fos_jax.pattern_table import PatternTable
from fos_jax.training import augment
from fos_jax.training.model import apply_for_training
from fos_jax.training.step import Gather, LossFunction, Metrics


def make_pretrain_loss(
    encoder: ForegroundEncoder,
    table: PatternTable,
    *,
    scale: float,
    margin: float,
    contrastive_weight: float = 0.0,
    contrastive_scale: float = 10.0,
    augmentation: augment.Augmentation = augment.NOTHING,
) -> LossFunction:
    """Loss of a batch of foregrounds: `image` uint8 [B, S, S, 4], `pattern` int32 [B] (-1: no part), `index`, `weight`.

    Args:
      encoder: the foreground encoder.
      table: pattern table.
      scale: inverse temperature of the softmax over the category's patterns.
      margin: taken from the true pattern's cosine.
      contrastive_weight: of a supervised contrastive term among the batch's foregrounds of the same category.
      contrastive_scale: its inverse temperature.
      augmentation: of cut-outs; their patterns are mirrored with them.

    Source: design decision (softmax over patterns, optionally with supervised contrastive).
    """
    category_of_pattern = jnp.asarray(table.category_of_pattern)
    mirror = jnp.asarray(table.mirror)

    def loss_function(
        params: Any, batch_stats: Any, batch: Mapping[str, jax.Array], keys: jax.Array, constants: Any, gather: Gather
    ) -> tuple[jax.Array, tuple[Metrics, Any]]:
        del constants
        flip_keys, colour_keys = augment.split_keys(keys, 2)
        image, pattern = augment.mirror_foregrounds(
            batch["image"], batch["pattern"], flip_keys, mirror, probability=augmentation.mirror_probability
        )
        image = augment.jitter_colours(image, colour_keys, augmentation.jitter)
        output, batch_stats = apply_for_training(encoder, params, batch_stats, image)
        (embedding, cosine), pattern, weight = gather((tuple(output), pattern, batch["weight"]))
        weight = weight * (pattern >= 0)
        softmax = losses.weighted_mean(
            losses.pattern_softmax(cosine, pattern, category_of_pattern, scale=scale, margin=margin), weight
        )
        category = category_of_pattern[jnp.maximum(pattern, 0)]
        is_rival = category_of_pattern[None, :] == category[:, None]  # [B, P]
        is_right = jnp.argmax(jnp.where(is_rival, cosine, -jnp.inf), axis=1) == pattern
        metrics = {"pattern_loss": softmax, "pattern_accuracy": losses.weighted_mean(is_right, weight)}
        if not contrastive_weight:
            return softmax, (metrics, batch_stats)
        is_other = ~jnp.eye(len(pattern), dtype=bool) & (weight > 0)[None, :]
        contrastive = losses.weighted_mean(
            losses.supervised_contrastive(
                embedding,
                embedding,
                pattern[:, None] == pattern[None, :],
                is_other & (category[:, None] == category[None, :]),
                scale=contrastive_scale,
            ),
            weight,
        )
        metrics["contrastive_loss"] = contrastive
        return softmax + contrastive_weight * contrastive, (metrics, batch_stats)

    return loss_function
