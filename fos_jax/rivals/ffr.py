"""FFR-like: a student that infers the features of its own foreground (Wu et al., WACV 2021), on our backbones and loop.

As publicly described: networks that were trained to extract features of objects serve as teachers; a student learns to
infer from a background the features of a foreground that fits, namely of the one that was there, so that both lie in
one space; no pattern, and no mask, is needed.
Chosen here: one teacher, which learns other labels than patterns from the same cut-outs (categories, or each cut-out as
a class of its own), since no public weights are at hand; the loss, 1 - cos; every number. Its features of style are
left out: public descriptions do not tell them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from fos_jax import losses
from fos_jax.data.batches import Rows, RowsOf
from fos_jax.encoders.build import init_query
from fos_jax.encoders.bundle import load_bundle
from fos_jax.encoders.query import QueryEncoder
from fos_jax.encoders.tuning import frozen_arrays
from fos_jax.errors import InputError
from fos_jax.pattern_table import PatternTable
from fos_jax.rivals.joint import RivalValidation, Split, build_encoders, input_fingerprints, save_rival
from fos_jax.rivals.other_labels import other_labels_task
from fos_jax.rivals.settings import NUMBER, checked, remaining_steps, stage_config
from fos_jax.training import augment
from fos_jax.training.loop import Runner, Task
from fos_jax.training.step import Gather, LossFunction, Metrics, apply_for_training
from fos_jax.training.validation import FOREGROUND_INPUTS, QUERY_INPUTS, Encoder, HeldOut

_SWAPPED = np.array([1, 0])  # a flip makes the mirrored version of the plain one, and back


def make_ffr_loss(
    query_encoder: QueryEncoder,
    *,
    augmentation: augment.Augmentation = augment.NOTHING,
) -> LossFunction:
    """Loss of a batch of queries with `own_row` int32 [B], the row of each one's own foreground.

    Constants hold `own` float32 [n, 2, D]: the frozen teacher's embedding of each foreground and of its mirror image.

    Args:
      query_encoder: trained.
      augmentation: of queries; a mirrored one's target is that of the mirrored foreground.

    Source: Wu et al., WACV 2021 (the target); the module names what was chosen here (decision 20).
    """

    def loss_function(
        params: Any, batch_stats: Any, batch: Mapping[str, jax.Array], keys: jax.Array, constants: Any, gather: Gather
    ) -> tuple[jax.Array, tuple[Metrics, Any]]:
        flip_keys, box_keys, colour_keys = augment.split_keys(keys, 3)
        is_version = jnp.zeros((len(batch["weight"]), 2), bool).at[:, 0].set(True)
        image, box, is_version = augment.mirror_queries(
            batch["image"],
            batch["box_yxyx_norm"],
            is_version,
            flip_keys,
            jnp.asarray(_SWAPPED),
            probability=augmentation.mirror_probability,
        )
        box = augment.expand_boxes(box, box_keys, largest=augmentation.box_expansion)
        image = augment.jitter_colours(image, colour_keys, augmentation.jitter)
        output, batch_stats = apply_for_training(query_encoder, params, batch_stats, image, box, batch["category"])
        target = constants["own"][batch["own_row"], jnp.argmax(is_version, axis=1)]  # [B, D]
        embedding, target, weight = gather((output.embedding, target, batch["weight"]))
        loss = losses.weighted_mean(losses.feature_distillation(embedding, target), weight)
        return loss, ({"feature_loss": loss}, batch_stats)

    return loss_function


def train_ffr(config: Any, train: Split, validation: Split, table: PatternTable, workdir: Path, run: Runner) -> None:
    """Trains the rival; `<workdir>/bundle` is its model, `<workdir>/teacher` the run of its teacher.

    Args:
      config: with `seed`, `foreground`, `query`, `augment`, and `ffr`: `labels` and `teacher_steps` (of
        training.num_steps), `teacher_scale` (inverse temperature of the teacher's softmax).
      train, validation, table, workdir, run: as of `methods.train_rival`.

    Raises:
      InputError: a wrong field in the config, or no training query has an own foreground.

    Source: Wu et al., WACV 2021; the module names what was chosen here (decision 20).
    """
    settings = checked(config.ffr, "ffr", labels=str, teacher_steps=int, teacher_scale=NUMBER)
    student_steps = remaining_steps(config, settings["teacher_steps"], "ffr.teacher_steps")
    rows = np.flatnonzero(train[1].foreground_index >= 0)
    if not len(rows):
        raise InputError("data set, split train: no query has its own foreground, expected some")
    teacher_config = _teacher_config(config, **settings)
    teacher_path = workdir / "teacher" / "bundle"
    teacher_task = other_labels_task(
        teacher_config, train[0], validation[0], table, bundle_path=teacher_path, axis_name=run.axis_name
    )
    run(teacher_task, teacher_config, workdir / "teacher")
    teacher = load_bundle(teacher_path).variables["foreground"]
    task = _student_task(config, train, validation, table, rows, teacher, workdir, run)
    run(task, stage_config(config, num_steps=student_steps), workdir)


def _teacher_config(config: Any, *, labels: str, teacher_steps: int, teacher_scale: float) -> ml_collections.ConfigDict:
    teacher = stage_config(config, num_steps=teacher_steps)
    teacher.labels = labels
    teacher.pretraining = {"scale": teacher_scale, "margin": 0.0}
    if labels == "instances":
        teacher.training.keep = "last"
    return teacher


def _student_task(
    config: Any,
    train: Split,
    validation: Split,
    table: PatternTable,
    rows: np.ndarray,
    teacher: Any,
    workdir: Path,
    run: Runner,
) -> Task:
    foregrounds, queries = train
    encoders = build_encoders(config, table, axis_name=run.axis_name)
    encode = Encoder(encoders[0], FOREGROUND_INPUTS)
    versions = (foregrounds.image, foregrounds.image[:, :, ::-1])
    own = [encode(teacher, {"image": image, "category": foregrounds.category})[0] for image in versions]
    arrays: dict[str, Rows] = {name: RowsOf(getattr(queries, name), rows) for name in QUERY_INPUTS}
    arrays["own_row"] = queries.foreground_index[rows]
    measure = RivalValidation(encoders, foregrounds, HeldOut(*validation, table), table)
    models = {"foreground": config.foreground.to_dict(), "query": config.query.to_dict()}

    def finish(variables: dict[str, Any], metrics: dict[str, float]) -> None:
        save_rival(workdir / "bundle", config, table, measure, teacher, variables, metrics)

    variables = init_query(jax.random.key(config.seed), models, table)
    return Task(
        variables=variables,
        loss_function=make_ffr_loss(
            encoders[1],
            augmentation=augment.from_config(config.augment),
        ),
        constants={"own": np.stack(own, axis=1)},
        arrays=arrays,
        ids=queries.ids[rows],
        validate=lambda variables: measure.cosine(teacher, variables),
        finish=finish,
        inputs=input_fingerprints(train, validation, table),
        frozen=frozen_arrays(variables["params"], models["query"]),
    )
