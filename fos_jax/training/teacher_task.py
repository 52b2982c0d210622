"""Pretraining the teacher on a data set: its `Task`."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from fos_jax.data.arrays import Foregrounds, fingerprint
from fos_jax.encoders.build import build_foreground_encoder, init_foreground
from fos_jax.encoders.bundle import save_bundle
from fos_jax.errors import InputError
from fos_jax.pattern_table import PatternTable
from fos_jax.posteriors import is_in_category
from fos_jax.training import augment
from fos_jax.training.calibrate import calibrated_scale, cross_entropy
from fos_jax.training.loop import Task
from fos_jax.training.model import Encoder
from fos_jax.training.pretrain import make_pretrain_loss


def pretrain_task(
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

    Source: design decision.
    """
    train, validation = _labelled(train, "train"), _labelled(validation, "validation")
    models = {"foreground": config.foreground.to_dict()}
    encoder = build_foreground_encoder(models, table, axis_name=axis_name)
    encode = Encoder(encoder, ("image",))
    is_allowed = np.asarray(is_in_category(validation.category, table.category_of_pattern))
    truth = (validation.pattern[:, None] == np.arange(table.num_patterns)).astype(np.float32)

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

    return Task(
        variables=init_foreground(jax.random.key(config.seed), models, table),
        loss_function=make_pretrain_loss(
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
