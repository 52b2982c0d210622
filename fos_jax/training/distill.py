"""Distilling the student: where the teacher puts a query's interchangeable foregrounds, the query goes too."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from fos_jax import losses
from fos_jax.encoders.query import QueryEncoder
from fos_jax.pattern_table import PatternTable
from fos_jax.posteriors import (
    combined_log_posterior,
    factorised_log_posterior,
    is_in_category,
    pattern_log_posterior,
)
from fos_jax.training import augment
from fos_jax.training.model import apply_for_training
from fos_jax.training.step import Gather, LossFunction, Metrics


def make_distill_loss(
    encoder: QueryEncoder,
    table: PatternTable,
    *,
    feature_weight: float,
    response_weight: float,
    attribute_weight: float,
    combined_weight: float = 0.0,
    embedding_response_weight: float = 0.0,
    embedding_scale: float = 10.0,
    gallery_weight: float = 0.0,
    gallery_scale: float = 16.0,
    temperature: float = 1.0,
    augmentation: augment.Augmentation = augment.NOTHING,
) -> LossFunction:
    """Loss of a batch of queries: `image`, `box_yxyx_norm`, `category`, `is_compatible` [B, P], `index`, `weight`.

    The frozen teacher enters by two constants (`teacher.Targets`): `target` float32 [P, D], what its embeddings of a
    pattern's foregrounds point to, and `response` float32 [P, P], its mean posterior over them. A query's foregrounds
    are those of its compatible patterns, each pattern counting the same, so its targets are their means. They are made
    after augmentation, from the labels that fit the augmented query.

    Args:
      encoder: the query encoder.
      table: pattern table.
      feature_weight: of 1 - cos to the teacher's embeddings.
      response_weight: of the KL from the teacher's posterior to the pattern head's.
      attribute_weight: of the KL from the teacher's attribute marginals to the factorised head's.
      combined_weight: of the KL from the teacher's posterior to the two heads' normalised geometric mean.
      embedding_response_weight: of the KL from the teacher's posterior to a softmax over the embedding's cosines to
        `target`: what the feature loss asks for one pattern at a time, it asks for against all others.
      embedding_scale: inverse temperature of that softmax.
      gallery_weight: of the cross-entropy between the foregrounds that fit, each in proportion to the probability that
        it is of a pattern that the teacher's response names, and a softmax over the embedding's cosines to all training
        foregrounds of the category: the ranking itself is learnt. It needs the constants of `teacher.gallery_targets`.
      gallery_scale: inverse temperature of that softmax.
      temperature: of the responses.
      augmentation: of queries; rectangle and patterns are mirrored with them.

    Source: Hinton et al., 2015 (responses); the rest is a design decision.
    """
    category_of_pattern = jnp.asarray(table.category_of_pattern)
    attribute_group, has_value = jnp.asarray(table.attribute_group), jnp.asarray(table.has_value)
    mirror = jnp.asarray(table.mirror)
    has_attributes = bool(table.attribute_values)

    def loss_function(
        params: Any, batch_stats: Any, batch: Mapping[str, jax.Array], keys: jax.Array, constants: Any, gather: Gather
    ) -> tuple[jax.Array, tuple[Metrics, Any]]:
        flip_keys, box_keys, colour_keys = augment.split_keys(keys, 3)
        image, box, is_compatible = augment.mirror_queries(
            batch["image"],
            batch["box_yxyx_norm"],
            batch["is_compatible"],
            flip_keys,
            mirror,
            probability=augmentation.mirror_probability,
        )
        box = augment.expand_boxes(box, box_keys, largest=augmentation.box_expansion)
        image = augment.jitter_colours(image, colour_keys, augmentation.jitter)
        output, batch_stats = apply_for_training(encoder, params, batch_stats, image, box, batch["category"])
        (embedding, pattern_logits, attribute_logits), is_compatible, category, weight = gather(
            (tuple(output), is_compatible, batch["category"], batch["weight"])
        )
        weight = weight * jnp.any(is_compatible, axis=1)  # a query that nothing fits teaches nothing
        share = is_compatible / jnp.maximum(jnp.sum(is_compatible, axis=1, keepdims=True), 1)  # [B, P]
        response = share @ constants["response"]  # [B, P]
        teacher = jnp.where(response > 0, jnp.log(jnp.where(response > 0, response, 1.0)), -jnp.inf)
        flat = pattern_log_posterior(pattern_logits, category, category_of_pattern)

        def mean(values: jax.Array) -> jax.Array:
            return losses.weighted_mean(values, weight)

        terms = {
            "feature_loss": (
                feature_weight,
                mean(losses.feature_distillation(embedding, constants["target"], is_compatible)),
            ),
            "response_loss": (
                response_weight,
                mean(losses.response_distillation(teacher, flat, temperature=temperature)),
            ),
        }
        if embedding_response_weight:
            near = pattern_log_posterior(
                embedding @ constants["target"].T, category, category_of_pattern, scale=embedding_scale
            )
            per_row = losses.response_distillation(teacher, near, temperature=temperature)
            terms["embedding_response_loss"] = (embedding_response_weight, mean(per_row))
        if gallery_weight:
            per_row = losses.ranking_distillation(
                embedding,
                constants["gallery"],
                response @ constants["gallery_pattern"].T,
                is_in_category(category, constants["gallery_category"]),
                scale=gallery_scale,
            )
            terms["gallery_loss"] = (gallery_weight, mean(per_row))
        if has_attributes and (attribute_weight or combined_weight):
            per_row = losses.attribute_distillation(
                teacher, attribute_logits, attribute_group=attribute_group, has_value=has_value
            )
            terms["attribute_loss"] = (attribute_weight, mean(per_row))
        if has_attributes and combined_weight:
            factorised = factorised_log_posterior(
                attribute_logits,
                category,
                category_of_pattern=category_of_pattern,
                attribute_group=attribute_group,
                has_value=has_value,
            )
            both = combined_log_posterior(flat, factorised)
            per_row = losses.response_distillation(teacher, both, temperature=temperature)
            terms["combined_loss"] = (combined_weight, mean(per_row))
        total = sum((factor * value for factor, value in terms.values()), jnp.zeros(()))
        metrics = {name: value for name, (_, value) in terms.items()}
        first = jnp.argmax(flat, axis=1)[:, None]
        metrics["top1_compatible"] = mean(jnp.take_along_axis(is_compatible, first, axis=1)[:, 0])
        return total, (metrics, batch_stats)

    return loss_function
