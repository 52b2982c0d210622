"""Trials behind the configs' numbers, as many for each training.

A trial is a training at half its steps with one seed, measured on the validation split by the training's own score
(its ranking's mAP; the teacher's cross-entropy, negated); the test split is never touched. The numbers in the config
files are those of the best trial, which a test checks against the results file.

Each space: two learning rates by two values of what is the method's own.

Five more settings were tried for the student without attribute labels alone, at full length, seed 0, after the test
figures of that seed had been seen (its relative margin over two streams was 22.7 % there). Flat posterior on
validation, .942 as it is: weight decay 0.4 .937, temperature 2 .926; and from the teacher's backbone, with code that
was not kept, .940, with weight decay 0.4 .942, with temperature 2 .938. None was taken.

Command: fos tune --size=demo
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fos_jax.errors import InputError
from fos_jax.experiments.cells import Method, Training, Trial, resolved_config, words
from fos_jax.experiments.methods import METHODS, STUDENT, TEACHER
from fos_jax.experiments.results_file import read_records, results_path

SEED = 0


def _space(*own: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    return tuple({"optimizer.learning_rate": rate, **values} for rate in (3e-3, 8e-3) for values in own)


def _student(readout: str, embedding_response_weight: float, gallery_weight: float) -> dict[str, Any]:
    return {
        "query.readout": readout,
        "distillation.embedding_response_weight": embedding_response_weight,
        "distillation.gallery_weight": gallery_weight,
    }


SPACES: dict[str, tuple[dict[str, Any], ...]] = {
    "teacher": _space({"pretraining.margin": 0.1}, {"pretraining.margin": 0.0}),
    "student": _space(_student("patterns", 0.0, 1.0), _student("head", 1.0, 0.0)),
    "two_streams": _space({"two_stream.scale": 20.0}, {"two_stream.scale": 10.0}),
    "cfo": _space({"triplets.margin": 0.3}, {"triplets.margin": 1.0}),
    "ufo": _space({"triplets.margin": 0.3}, {"triplets.margin": 1.0}),
    "gala": _space({"gala.scale": 20.0}, {"gala.scale": 10.0}),
    "ffr": _space({"ffr.labels": "instances"}, {"ffr.labels": "categories"}),
    "disco": _space({"disco.scale": 10.0}, {"disco.scale": 20.0}),
}
TRAININGS: dict[str, Training] = {
    **{method.training.name: method.training for method in METHODS},
    "teacher": TEACHER,
    "student": STUDENT,
}
_STEPS = ("training.num_steps", "training.validate_every_steps")
STAGES = {  # steps of an earlier stage of the same training
    "cfo": "extension.first_steps",
    "ufo": "mining.first_steps",
    "disco": "disco.teacher_steps",
    "ffr": "ffr.teacher_steps",
}


def trial_training(name: str, number: int, size: str) -> Training:
    """A trial's training: the config's fields of the space changed, and its steps halved."""
    base = TRAININGS[name]
    config = resolved_config(base, size)
    halved: dict[str, Any] = {}
    for field in (*_STEPS, *filter(None, [STAGES.get(name)])):
        room, key = field.split(".")
        halved[field] = max(1, config[room][key] // 2)
    changes = {**base.changes, **SPACES[name][number], **halved}
    return dataclasses.replace(base, name=f"trial_{name}_{number}", changes=changes)


def chosen(name: str, size: str) -> int | None:
    """Number of the trial whose numbers the config has; None where it has others."""
    config = resolved_config(TRAININGS[name], size)
    for number, changes in enumerate(SPACES[name]):
        keys = [(field.split("."), value) for field, value in changes.items()]
        if all(config[room][key] == value for (room, key), value in keys):
            return number
    return None


def trials(size: str, version: str, only: Sequence[str] = ()) -> list[Trial]:
    """All trials, or those of the trainings in `only`; `InputError` for an unknown name there."""
    if unknown := [name for name in only if name not in SPACES]:
        raise InputError(f"only: unknown {', '.join(unknown)}, expected some of {', '.join(SPACES)}")
    return [
        Trial(Method(name, name, "", trial_training(name, k, size)), size, SEED, version, number=k, changes=changes)
        for name in (only or SPACES)
        for k, changes in enumerate(SPACES[name])
    ]


def planned(size: str, version: str) -> list[dict[str, Any]]:
    """All trials for the plan: training, number, changes, definition, and whether the config has these numbers."""
    return [
        {
            "training": trial.method.name,
            "number": trial.number,
            "changes": trial.changes,
            "definition": trial.definition,
            "is_chosen": chosen(trial.method.name, size) == trial.number,
        }
        for trial in trials(size, version)
    ]


def summary(size: str, version: str, results: str | Path) -> list[str]:
    """A line per training whose trials were all run: the best one, and whether the config has its numbers."""
    records = read_records(results_path(results, size))
    lines = []
    for name in SPACES:
        own = trials(size, version, [name])
        found = [records.get(trial.key, {}) for trial in own]
        scores = [of["score"] for of, trial in zip(found, own, strict=True) if of.get("definition") == trial.definition]
        if len(scores) < len(own):
            lines.append(f"{name}: {len(own) - len(scores)} of {len(own)} trials not run")
            continue
        best = own[scores.index(max(scores))]
        use = "as in its config" if chosen(name, size) == best.number else "its config has other numbers"
        lines.append(f"{name}: best trial {best.number}, score {max(scores):.4f}, {words(best.changes)} ({use})")
    return lines
