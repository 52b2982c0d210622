"""The student: loss and task of a query encoder that is distilled from a frozen teacher."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fos_jax import losses
from fos_jax.data.arrays import Foregrounds, Queries, fingerprint
from fos_jax.encoders.build import build_query_encoder, init_query
from fos_jax.encoders.bundle import Bundle, save_bundle
from fos_jax.encoders.query import QueryEncoder
from fos_jax.encoders.tuning import frozen_arrays
from fos_jax.errors import InputError
from fos_jax.pattern_table import PatternTable
from fos_jax.posteriors import (
    combined_log_posterior,
    factorised_log_posterior,
    is_in_category,
    pattern_log_posterior,
)
from fos_jax.training import augment
from fos_jax.training.loop import Task
from fos_jax.training.step import Gather, LossFunction, Metrics, apply_for_training
from fos_jax.training.targets import encode_once, gallery_targets, pattern_targets
from fos_jax.training.validation import QUERY_INPUTS, Encoder, HeldOut


def make_student_loss(
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

    The frozen teacher enters by the constants of `targets.pattern_targets`: `target` float32 [P, D], what its
    embeddings of a pattern's foregrounds point to, and `response` float32 [P, P], its mean posterior over them. A
    query's foregrounds are those of its compatible patterns, each pattern counting the same, so its targets are their
    means. They are made after augmentation, from the labels that fit the augmented query.

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
        foregrounds of the category: the ranking itself is learnt. It needs the constants of `targets.gallery_targets`.
      gallery_scale: inverse temperature of that softmax.
      temperature: of the responses.
      augmentation: of queries; rectangle and patterns are mirrored with them.

    Source: Hinton et al., 2015 (responses); decision 8.
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


def student_task(
    config: Any,
    train: tuple[Foregrounds, Queries],
    validation: tuple[Foregrounds, Queries],
    table: PatternTable,
    *,
    teacher: Bundle,
    bundle_path: str | Path,
    cache_dir: str | Path,
    axis_name: str | None = None,
) -> Task:
    """The task of training a query encoder from a frozen teacher.

    Args:
      config: with `seed`, `query`, `distillation` (arguments of the loss and of `pattern_targets`) and `augment`.
      train, validation: foregrounds and queries.
      table: pattern table, the one the teacher was trained on.
      teacher: its bundle.
      bundle_path: where the bundle of teacher and student goes.
      cache_dir: for the teacher's outputs.
      axis_name: `parallelism.AXIS` when it will run under pmap, else None.

    Raises:
      InputError: the teacher knows other patterns than the data set.
    """
    if teacher.table.fingerprint() != table.fingerprint():
        raise InputError(
            f"teacher: trained on pattern table {teacher.table.fingerprint()}, expected {table.fingerprint()}, that of "
            "the data set"
        )
    embedding, log_posterior = encode_once(teacher, train[0], cache_dir=cache_dir)
    loss_settings = dict(config.distillation)
    constants = pattern_targets(
        embedding,
        log_posterior,
        train[0].pattern,
        teacher.prototypes,
        feature_target=loss_settings.pop("feature_target"),
        response_target=loss_settings.pop("response_target"),
    )
    if config.distillation.gallery_weight:
        constants |= gallery_targets(
            embedding,
            log_posterior,
            train[0].pattern,
            train[0].category,
            response_target=config.distillation.response_target,
        )
    query = {**config.query.to_dict(), "uses_attributes": learns_attributes(config.distillation)}
    models = {"foreground": teacher.config.foreground.to_dict(), "query": query}
    encoder = build_query_encoder(models, table, axis_name=axis_name)
    variables = init_query(jax.random.key(config.seed), models, table)
    if "readout" in variables["params"]:
        variables["params"]["readout"] = jnp.asarray(constants["target"])
    queries = train[1]
    arrays = {name: getattr(queries, name) for name in (*QUERY_INPUTS, "is_compatible")}
    gallery = encode_once(teacher, validation[0], cache_dir=cache_dir)
    ranking = StudentValidation(encoder, HeldOut(*validation, table), gallery, table)

    def finish(variables: dict[str, Any], metrics: dict[str, float]) -> None:
        resolved = config.to_dict()
        resolved["foreground"] = teacher.config.foreground.to_dict()
        resolved["query"] = {**query, **ranking.scales(variables)}
        resolved["teacher"] = {"fingerprint": teacher.fingerprint}
        save_bundle(
            bundle_path,
            config=resolved,
            table=table,
            foreground_variables=teacher.variables["foreground"],
            query_variables=variables,
            metrics={**teacher.metrics, "student_validation": metrics},
        )

    return Task(
        variables=variables,
        loss_function=make_student_loss(
            encoder,
            table,
            augmentation=augment.from_config(config.augment),
            **loss_settings,
        ),
        constants=constants,
        arrays=arrays,
        ids=queries.ids,
        validate=ranking,
        finish=finish,
        inputs={
            "train": fingerprint(queries),
            "validation": fingerprint(validation[1]),
            "patterns": table.fingerprint(),
            "teacher": teacher.fingerprint,
        },
        frozen=frozen_arrays(variables["params"], query),
    )


def learns_attributes(distillation: Mapping[str, Any]) -> bool:
    """Whether any loss trains the attribute head; a head that learns nothing would spoil what both heads say."""
    return bool(distillation["attribute_weight"] or distillation["combined_weight"])


class StudentValidation:
    """Measures a student on the validation split: ranking by cosine and by posterior, after calibration.

    Args:
      encoder: query encoder.
      held_out: the validation split.
      gallery: the teacher's embedding [n, D] and log-posterior [n, P] of its foregrounds.
      table: pattern table.
    """

    def __init__(
        self, encoder: QueryEncoder, held_out: HeldOut, gallery: tuple[np.ndarray, np.ndarray], table: PatternTable
    ):
        self._encode = Encoder(encoder, QUERY_INPUTS)
        self._inputs = {name: getattr(held_out.queries, name) for name in QUERY_INPUTS}
        self._held_out, self._table = held_out, table
        self._embedding, self._posterior = gallery[0], np.exp(gallery[1])

    def __call__(self, variables: dict[str, Any]) -> dict[str, float]:
        """mAP by cosine, flat, factorised and combined posterior; "score" is the best posterior's."""
        held_out = self._held_out
        embedding, pattern_logits, attribute_logits = self._encode(variables, self._inputs)
        flat_scale, factorised_scale = self._scales(pattern_logits, attribute_logits)
        flat = held_out.log_posterior(pattern_logits, held_out.queries, scale=flat_scale)
        metrics = {"map_cosine": held_out.map(embedding @ self._embedding.T), "map_flat": self._posterior_map(flat)}
        metrics["cross_entropy"] = held_out.query_cross_entropy(pattern_logits, flat_scale)
        first = flat.argmax(axis=1)
        metrics["top1_compatible"] = float(np.mean(held_out.queries.is_compatible[np.arange(len(first)), first]))
        metrics["score"] = metrics["map_flat"]
        if attribute_logits.shape[1]:
            factorised = factorised_log_posterior(
                jnp.asarray(attribute_logits),
                held_out.queries.category,
                category_of_pattern=self._table.category_of_pattern,
                attribute_group=self._table.attribute_group,
                has_value=self._table.has_value,
                scale=factorised_scale,
            )
            metrics["map_factorised"] = self._posterior_map(np.asarray(factorised))
            metrics["map_both"] = self._posterior_map(np.asarray(combined_log_posterior(flat, factorised)))
            metrics["score"] = metrics["map_both"]
        return metrics

    def scales(self, variables: dict[str, Any]) -> dict[str, float]:
        """Calibration of the two heads: `flat_scale` and `factorised_scale` of `config.query`."""
        _, pattern_logits, attribute_logits = self._encode(variables, self._inputs)
        flat, factorised = self._scales(pattern_logits, attribute_logits)
        return {"flat_scale": flat, "factorised_scale": factorised}

    def _scales(self, pattern_logits: np.ndarray, attribute_logits: np.ndarray) -> tuple[float, float]:
        flat = self._held_out.query_scale(pattern_logits)
        if not attribute_logits.shape[1]:
            return flat, 1.0
        # Each attribute's log-normaliser is the same for all patterns of the category, so the softmax over patterns
        # does not see it: sums of logits are enough.
        joint = np.asarray(attribute_logits) @ self._table.has_value.T.astype(np.float32)
        return flat, self._held_out.query_scale(joint)

    def _posterior_map(self, log_posterior: np.ndarray) -> float:
        return self._held_out.map(np.exp(log_posterior) @ self._posterior.T)
