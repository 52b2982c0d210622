"""The teacher: loss and task of a foreground encoder that learns patterns."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fos_jax import losses
from fos_jax.data.arrays import Foregrounds, fingerprint
from fos_jax.encoders.build import build_foreground_encoder, init_foreground
from fos_jax.encoders.bundle_files import save_bundle
from fos_jax.encoders.foreground import ForegroundEncoder
from fos_jax.encoders.tuning import frozen_arrays
from fos_jax.errors import InputError
from fos_jax.pattern_table import PatternTable
from fos_jax.posteriors import is_in_category
from fos_jax.training import augment
from fos_jax.training.loop import Task
from fos_jax.training.step import Gather, LossFunction, Metrics, apply_for_training
from fos_jax.training.validation import Encoder, calibrated_scale, cross_entropy, pattern_targets_of


def make_teacher_loss(
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

    Source: decision 7.
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


def teacher_task(
    config: Any,
    train: Foregrounds,
    validation: Foregrounds,
    table: PatternTable,
    *,
    bundle_path: str | Path,
    axis_name: str | None = None,
) -> Task:
    """The task of training a foreground encoder on labelled foregrounds.

    Args:
      config: with `seed`, `foreground`, `pretraining` (arguments of the loss) and `augment`.
      train, validation: foregrounds; those of unknown pattern are left out.
      table: pattern table.
      bundle_path: where the teacher's bundle goes.
      axis_name: `parallelism.AXIS` when it will run under pmap, else None.

    Raises:
      InputError: a split without labelled foregrounds.
    """
    train, validation = _labelled(train, "train"), _labelled(validation, "validation")
    models = {"foreground": config.foreground.to_dict()}
    encoder = build_foreground_encoder(models, table, axis_name=axis_name)
    encode = Encoder(encoder, ("image",))
    is_allowed = np.asarray(is_in_category(validation.category, table.category_of_pattern))
    truth = pattern_targets_of(validation, table)

    def measure(variables: dict[str, Any]) -> tuple[dict[str, float], float]:
        _, cosine = encode(variables, {"image": validation.image})
        scale = calibrated_scale(cosine, is_allowed, truth)
        is_right = np.where(is_allowed, cosine, -np.inf).argmax(axis=1) == validation.pattern
        loss = cross_entropy(cosine, is_allowed, truth, scale)
        return {"pattern_accuracy": float(is_right.mean()), "cross_entropy": loss, "score": -loss}, scale

    def finish(variables: dict[str, Any], metrics: dict[str, float]) -> None:
        _, scale = measure(variables)
        resolved = config.to_dict()
        resolved["foreground"]["posterior_scale"] = scale
        save_bundle(
            bundle_path,
            config=resolved,
            table=table,
            foreground_variables=variables,
            query_variables=None,
            metrics={"validation": metrics},
        )

    variables = init_foreground(jax.random.key(config.seed), models, table)
    return Task(
        variables=variables,
        loss_function=make_teacher_loss(
            encoder,
            table,
            augmentation=augment.from_config(config.augment),
            **config.pretraining,
        ),
        constants={},
        arrays={"image": train.image, "pattern": train.pattern},
        ids=train.ids,
        validate=lambda variables: measure(variables)[0],
        finish=finish,
        inputs={"train": fingerprint(train), "validation": fingerprint(validation), "patterns": table.fingerprint()},
        frozen=frozen_arrays(variables["params"], models["foreground"]),
    )


def _labelled(foregrounds: Foregrounds, split: str) -> Foregrounds:
    is_labelled = foregrounds.pattern >= 0
    if not is_labelled.any():
        raise InputError(f"data set, split {split}: no foreground has a pattern, expected some for pretraining")
    if is_labelled.all():
        return foregrounds  # stays memory-mapped
    return Foregrounds(
        ids=foregrounds.ids[is_labelled],
        image=foregrounds.image[is_labelled],
        category=foregrounds.category[is_labelled],
        pattern=foregrounds.pattern[is_labelled],
    )
