"""Methods that train in stages: what a stage runs under, and the stage that all of them end with, triplets."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_collections

from fos_jax.data.arrays import Pairs
from fos_jax.errors import InputError
from fos_jax.pattern_table import PatternTable
from fos_jax.rivals.joint import Split, TrainingRows, joint_task
from fos_jax.rivals.settings import NUMBER, checked
from fos_jax.rivals.triplets import make_triplet_loss, triplet_rows
from fos_jax.training import augment
from fos_jax.training.loop import train
from fos_jax.training.student_task import RankingMeasure


@dataclasses.dataclass(frozen=True)
class Circumstances:
    """What a method runs under, the same for all.

    Attributes:
      measure_ranking: mean average precision; the best checkpoint is chosen by it (cosine).
      parallelism: "jit" or "pmap". axis_name: `parallelism.AXIS` for "pmap", else None.
      progress: whether to show progress bars.
    """

    measure_ranking: RankingMeasure
    parallelism: str = "jit"
    axis_name: str | None = None
    progress: bool = True


def train_on_triplets(
    config: Any,
    train_split: Split,
    validation: Split,
    table: PatternTable,
    workdir: Path,
    circumstances: Circumstances,
    *,
    num_steps: int,
    further: Pairs | None = None,
    variables: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One stage on triplets: trains both encoders, writes `<workdir>/bundle` and returns the variables.

    Args:
      config: of the run, with `triplets` and `augment`.
      train_split, validation: foregrounds and queries. table: pattern table.
      workdir, circumstances: where and how.
      num_steps: of this stage.
      further: positives beside the own foregrounds.
      variables: to start from; drawn anew where None.

    Source: design decision.
    """
    rows: TrainingRows = triplet_rows(*train_split, further)
    task = joint_task(
        config,
        train_split,
        validation,
        table,
        rows=rows,
        make_loss=lambda *encoders: make_triplet_loss(
            *encoders,
            augmentation=augment.from_config(config.augment),
            **checked(config.triplets, "triplets", margin=NUMBER, same_category_only=bool),
        ),
        bundle_path=workdir / "bundle",
        measure_ranking=circumstances.measure_ranking,
        axis_name=circumstances.axis_name,
    )
    if variables is not None:
        task = dataclasses.replace(task, variables=variables)
    stage = stage_config(config, num_steps=num_steps)
    return train(task, stage, workdir, parallelism=circumstances.parallelism, progress=circumstances.progress)


def stage_config(config: Any, *, num_steps: int) -> ml_collections.ConfigDict:
    """The config with another number of steps; all else, seed and schedule included, is that of the run."""
    stage = ml_collections.ConfigDict(config.to_dict())
    stage.training.num_steps = num_steps
    return stage


def remaining_steps(config: Any, first_steps: int, field: str) -> int:
    """Steps of `training.num_steps` that a first stage leaves; `InputError` where it has none or leaves none."""
    num_steps = config.training.num_steps
    if not 0 < first_steps < num_steps:
        raise InputError(
            f"config: {field}: {first_steps!r}, expected more than 0 and less than training.num_steps, {num_steps}"
        )
    return num_steps - first_steps
