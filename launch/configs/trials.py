"""The trials behind the configs' numbers: what was tried for each training, the same number for all.

A trial is a training at half its steps with one seed, measured on the validation split by the training's own score
(its ranking's mAP; the teacher's cross-entropy, negated); the test split is never touched. The numbers in the config
files are those of the best trial, which a test checks against the log in results/<size>/trials.

Each space: two learning rates with two values of what is the method's own.

Command: fos-tune --size=demo
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from fos_jax.launch.configs.results import METHODS, STUDENT, TEACHER
from fos_jax.launch.results_cells import Training, resolved_config

SEED = 0


def _space(own: Sequence[Mapping[str, Any]], rates: Sequence[float] = (1e-3, 3e-3)) -> tuple[dict[str, Any], ...]:
    return tuple({"optimizer.learning_rate": rate, **more} for rate, more in itertools.product(rates, own))


def _values(field: str, *values: Any) -> list[dict[str, Any]]:
    return [{field: value} for value in values]


SPACES: dict[str, tuple[dict[str, Any], ...]] = {
    "teacher": _space(_values("pretraining.margin", 0.1, 0.0)),
    "student": _space(
        [
            {
                "query.readout": "head",
                "distillation.embedding_response_weight": 1.0,
                "distillation.gallery_weight": 0.0,
            },
            {
                "query.readout": "patterns",
                "distillation.embedding_response_weight": 0.0,
                "distillation.gallery_weight": 1.0,
            },
        ],
    ),
    "two_streams": _space(_values("two_stream.scale", 10.0, 20.0)),
    "cfo": _space(_values("triplets.margin", 0.3, 0.6)),
    "ufo": _space(
        [{"triplets.margin": 0.3, "mining.threshold": 0.8}, {"triplets.margin": 0.6, "mining.threshold": 0.5}],
    ),
    "gala": _space(_values("gala.scale", 10.0, 20.0)),
}
_STEPS = ("training.num_steps", "training.validate_every_steps")
_STAGES = {"cfo": "extension.first_steps", "ufo": "mining.first_steps"}


def trial(name: str, number: int, size: str) -> Training:
    """A trial as a training: the config's fields of the space changed, and its steps halved."""
    base = _trainings()[name]
    config = resolved_config(base, size)
    halved: dict[str, Any] = {}
    for field in (*_STEPS, *filter(None, [_STAGES.get(name)])):
        room, key = field.split(".")
        halved[field] = max(1, config[room][key] // 2)
    changes = {**base.changes, **SPACES[name][number], **halved}
    return dataclasses.replace(base, name=f"trial_{name}_{number}", changes=changes)


def chosen(name: str, size: str) -> int | None:
    """Number of the trial whose numbers the config has; None where it has others."""
    config = resolved_config(_trainings()[name], size)
    for number, changes in enumerate(SPACES[name]):
        keys = [(field.split("."), value) for field, value in changes.items()]
        if all(config[room][key] == value for (room, key), value in keys):
            return number
    return None


def _trainings() -> dict[str, Training]:
    by_name = {method.training.name: method.training for method in METHODS}
    return {**by_name, "teacher": TEACHER, "student": STUDENT}
