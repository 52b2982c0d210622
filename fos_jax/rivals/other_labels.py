"""Foreground encoders that learn other labels than patterns: categories, or each cut-out as a class of its own.

Trained on categories it shows how much of the ranking comes with any features of objects, trained on instances what the
pattern labels add to looking closely. As a ranking such features need an object to compare with, and a query shows
none: the evaluation gives them the query's own foreground. As teachers they are ablations.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from fos_jax.data.arrays import Foregrounds, fingerprint
from fos_jax.encoders.build import build_foreground_encoder
from fos_jax.encoders.bundle import save_bundle
from fos_jax.errors import InputError
from fos_jax.pattern_table import Pattern, PatternTable
from fos_jax.posteriors import is_in_category
from fos_jax.rivals.joint import mean_prototypes
from fos_jax.training.loop import Task
from fos_jax.training.teacher import teacher_task
from fos_jax.training.validation import Encoder, calibrated_scale, pattern_targets_of

LABELS = ("categories", "instances")


def categories_as_patterns(table: PatternTable) -> PatternTable:
    """A table of one category whose patterns are the given table's categories; each is its own mirror image."""
    names = table.categories
    patterns = tuple(Pattern(i, "object", {}, name, i, {}) for i, name in enumerate(names))
    return PatternTable(("object",), {"object": {}}, patterns)


def instances_as_patterns(category: np.ndarray, table: PatternTable) -> PatternTable:
    """A table in which each of n foregrounds, `category` int32 [n], is a pattern of its own; none is mirrored."""
    names = table.categories
    patterns = tuple(Pattern(i, names[c], {}, f"instance {i}", -1, {}) for i, c in enumerate(category))
    return PatternTable(names, {}, patterns)


def other_labels_task(
    config: Any,
    train: Foregrounds,
    validation: Foregrounds,
    table: PatternTable,
    *,
    bundle_path: str | Path,
    axis_name: str | None = None,
) -> Task:
    """The task of `teacher_task` with other labels: the same encoder, loss, augmentation and length.

    Afterwards each pattern's prototype becomes the mean of its training foregrounds, and the posterior's scale is
    calibrated on the validation split, as for every method that learns no prototypes of patterns.

    Args:
      config: as for `teacher_task`, with `labels`: "categories" or "instances". Instances know nothing to choose a
        checkpoint by (the validation's are none of theirs): `training.keep` must be "last".
      train, validation: foregrounds. Their patterns serve the prototypes alone.
      table: pattern table.
      bundle_path: where the bundle goes; it has no query encoder.
      axis_name: `parallelism.AXIS` when it will run under pmap, else None.

    Raises:
      InputError: other labels, one category only, or another choice of checkpoint for instances.

    Source: instances as classes: Dosovitskiy et al., NeurIPS 2014 (Exemplar-CNN).
    """
    if config.labels not in LABELS:
        raise InputError(f"config: labels: {config.labels!r}, expected one of patterns, {', '.join(LABELS)}")
    if config.labels == "categories":
        if len(table.categories) < 2:
            raise InputError(f"data set: its only category is {table.categories[0]}, expected two to tell apart")
        classes, shown, held_out = categories_as_patterns(table), _of_categories(train), _of_categories(validation)
    else:
        if config.training.keep != "last":
            raise InputError(f"config: training.keep: {config.training.keep!r}, expected 'last' for labels 'instances'")
        classes = instances_as_patterns(train.category, table)
        shown = dataclasses.replace(train, pattern=np.arange(len(train), dtype=np.int32))
        held_out = dataclasses.replace(validation, pattern=np.zeros(len(validation), np.int32))
    task = teacher_task(config, shown, held_out, classes, bundle_path=bundle_path, axis_name=axis_name)

    def finish(variables: dict[str, Any], metrics: dict[str, float]) -> None:
        encoder = build_foreground_encoder({"foreground": config.foreground.to_dict()}, classes, axis_name=axis_name)
        encode = Encoder(encoder, ("image",))
        embedding = encode(variables, {"image": train.image})[0]
        of_all = np.tile(embedding.mean(axis=0), (table.num_patterns, 1))
        prototypes = mean_prototypes(embedding, train.pattern, table, empty=of_all)
        cosine = encode(variables, {"image": validation.image})[0] @ prototypes.T
        truth = pattern_targets_of(validation, table)
        resolved = config.to_dict()
        is_allowed = np.asarray(is_in_category(validation.category, table.category_of_pattern))
        resolved["foreground"]["posterior_scale"] = calibrated_scale(cosine, is_allowed, truth)
        is_category = config.labels == "categories"
        save_bundle(
            bundle_path,
            config=resolved,
            table=table,
            foreground_variables={**variables, "params": {**variables["params"], "prototypes": prototypes}},
            query_variables=None,
            metrics={"validation": {"category_accuracy": metrics["pattern_accuracy"]} if is_category else {}},
        )

    inputs = {"train": fingerprint(train), "validation": fingerprint(validation), "patterns": table.fingerprint()}
    validate = task.validate if config.labels == "categories" else (lambda variables: {"score": 0.0})
    return dataclasses.replace(task, validate=validate, finish=finish, inputs=inputs)


def _of_categories(foregrounds: Foregrounds) -> Foregrounds:
    category = np.asarray(foregrounds.category, np.int32)
    return Foregrounds(foregrounds.ids, foregrounds.image, np.zeros_like(category), category)
