"""Features of a classifier: a foreground encoder that learns to tell categories and never sees a pattern.

It shows how much of the ranking comes with any features of objects. As a ranking it needs an object to compare with,
and a query shows none: the evaluation gives it the query's own foreground.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from fos_jax.data.arrays import Foregrounds, fingerprint
from fos_jax.encoders.build import build_foreground_encoder
from fos_jax.encoders.bundle import save_bundle
from fos_jax.encoders.posteriors import is_in_category
from fos_jax.errors import InputError
from fos_jax.pattern_table import Pattern, PatternTable
from fos_jax.training.calibrate import calibrated_scale
from fos_jax.training.loop import Task
from fos_jax.training.model import Encoder
from fos_jax.training.teacher import pattern_targets
from fos_jax.training.teacher_task import pretrain_task


def categories_as_patterns(table: PatternTable) -> PatternTable:
    """A table of one category whose patterns are the given table's categories; each is its own mirror image."""
    names = table.categories
    patterns = tuple(Pattern(i, "object", {}, name, i, {}) for i, name in enumerate(names))
    return PatternTable(("object",), {"object": {}}, patterns)


def category_features_task(
    config: Any,
    train: Foregrounds,
    validation: Foregrounds,
    table: PatternTable,
    *,
    bundle_path: str | Path,
    axis_name: str | None = None,
) -> Task:
    """The task of `pretrain_task` with categories for labels: the same encoder, loss, augmentation and length.

    Afterwards each pattern's prototype becomes the mean of its training foregrounds, and the posterior's scale is
    calibrated on the validation split, as for every method that learns no prototypes of patterns.

    Args:
      config: as for `pretrain_task`.
      train, validation: foregrounds. Their patterns serve the prototypes alone.
      table: pattern table.
      bundle_path: where the bundle goes; it has no query encoder.
      axis_name: `parallelism.AXIS` when it will run under pmap, else None.

    Raises: InputError where there is one category only.

    Source: design decision.
    """
    if len(table.categories) < 2:
        raise InputError(f"data set: its only category is {table.categories[0]}, expected two to tell apart")
    classes = categories_as_patterns(table)
    task = pretrain_task(
        config, _of_categories(train), _of_categories(validation), classes, bundle_path=bundle_path, axis_name=axis_name
    )

    def finish(variables: dict[str, Any], metrics: dict[str, float]) -> None:
        encoder = build_foreground_encoder({"foreground": config.foreground.to_dict()}, classes, axis_name=axis_name)
        encode = Encoder(encoder, ("image",))
        prototypes = _prototypes(encode(variables, {"image": train.image})[0], train.pattern, table)
        cosine = encode(variables, {"image": validation.image})[0] @ prototypes.T
        truth = np.eye(table.num_patterns, dtype=np.float32)[validation.pattern] * (validation.pattern >= 0)[:, None]
        resolved = config.to_dict()
        is_allowed = np.asarray(is_in_category(validation.category, table.category_of_pattern))
        resolved["foreground"]["posterior_scale"] = calibrated_scale(cosine, is_allowed, truth)
        save_bundle(
            bundle_path,
            config=resolved,
            table=table,
            foreground_variables={**variables, "params": {**variables["params"], "prototypes": prototypes}},
            query_variables=None,
            metrics={"validation": {"category_accuracy": metrics["pattern_accuracy"]}},
        )

    inputs = {"train": fingerprint(train), "validation": fingerprint(validation), "patterns": table.fingerprint()}
    return dataclasses.replace(task, finish=finish, inputs=inputs)


def _of_categories(foregrounds: Foregrounds) -> Foregrounds:
    category = np.asarray(foregrounds.category, np.int32)
    return Foregrounds(foregrounds.ids, foregrounds.image, np.zeros_like(category), category)


def _prototypes(embedding: np.ndarray, pattern: np.ndarray, table: PatternTable) -> np.ndarray:
    """float32 [P, D]: mean of each pattern's members, unit; of all foregrounds where it has none."""
    unread = np.zeros((len(embedding), table.num_patterns), np.float32)
    of_none = np.tile(embedding.mean(axis=0), (table.num_patterns, 1))
    return pattern_targets(embedding, unread, pattern, of_none)["target"]
