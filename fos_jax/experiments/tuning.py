"""Running trials one after another, and what is kept of each."""

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fos_jax.errors import InputError
from fos_jax.experiments import running as results_run
from fos_jax.experiments import trials as table
from fos_jax.experiments.cells import Cell, Method, stages_of, training_key, workdir_of
from fos_jax.experiments.side_by_side import run_side_by_side
from fos_jax.experiments.stages import StageError, run_stages
from fos_jax.experiments.trial_files import read_trials, write_trial

_VALIDATION = ("student_validation", "validation")  # of a bundle's metrics; a student's bundle has its teacher's too


def select(only: Sequence[str]) -> list[tuple[str, int]]:
    """(training, number) of the trials to run; `InputError` for an unknown name in `only`."""
    if unknown := [name for name in only if name not in table.SPACES]:
        raise InputError(f"only: unknown {', '.join(unknown)}, expected some of {', '.join(table.SPACES)}")
    return [(name, k) for name, space in table.SPACES.items() if not only or name in only for k in range(len(space))]


def planned(size: str, version: str) -> list[dict[str, Any]]:
    """All trials: training, number, changes, definition, and whether the config has these numbers."""
    return [
        {
            "training": name,
            "number": number,
            "changes": table.SPACES[name][number],
            "definition": training_key(table.trial(name, number, size), size, version),
            "is_chosen": table.chosen(name, size) == number,
        }
        for name, number in select(())
    ]


def run_trials(
    trials: Sequence[tuple[str, int]],
    size: str,
    *,
    work: Path,
    data: Path,
    results: Path,
    jobs: int = 1,
    announce: Callable[[str], None] = print,
) -> list[str]:
    """Runs the trials whose file is missing or was defined in another way, `jobs` at a time.

    Returns: a sentence for each that failed.
    """
    version = results_run.dataset_version()
    plans = [plan for plan in planned(size, version) if (plan["training"], plan["number"]) in trials]
    done = read_trials(results, size, plans)
    missing = [plan for plan, trial in zip(plans, done, strict=True) if trial is None]
    announce(f"{len(plans) - len(missing)} of {len(plans)} trials are done, {len(missing)} to run")
    if missing:
        results_run.build_data(size, data)

    def run(count: int, plan: dict[str, Any]) -> str | None:
        name = f"{plan['training']}-{plan['number']}"
        announce(f"trial {count} of {len(missing)}: {name}, {_words(plan['changes'])}")
        try:
            announce(f"  {write_trial(results, size, _run(plan, size, version, work, data, jobs > 1, announce))}")
        except StageError as error:
            announce(f"  failed: {error}")
            return f"{name}: {error}"
        return None

    failed = run_side_by_side([functools.partial(run, *pair) for pair in enumerate(missing, 1)], jobs)
    return [sentence for sentence in failed if sentence]


def summary(size: str, results: str | Path) -> list[str]:
    """A line for each training whose trials were all run: the best one, and whether the config has its numbers."""
    plans = planned(size, results_run.dataset_version())
    found = read_trials(results, size, plans)
    lines = []
    for name in table.SPACES:
        own = [(plan, trial) for plan, trial in zip(plans, found, strict=True) if plan["training"] == name]
        scores = [(trial["score"], plan) for plan, trial in own if trial is not None]
        if len(scores) < len(own):
            lines.append(f"{name}: {len(own) - len(scores)} of {len(own)} trials not run")
            continue
        score, best = max(scores, key=lambda pair: pair[0])
        use = "as in its config" if best["is_chosen"] else "its config has other numbers"
        lines.append(f"{name}: best trial {best['number']}, score {score:.4f}, {_words(best['changes'])} ({use})")
    return lines


def _run(
    plan: dict[str, Any],
    size: str,
    version: str,
    work: Path,
    data: Path,
    is_quiet: bool,
    announce: Callable[[str], None],
) -> dict[str, Any]:
    training = table.trial(plan["training"], plan["number"], size)
    cell = Cell(Method(training.name, "", "", training), size, table.SEED, version)
    *stages, _ = stages_of(cell, work, data)  # without the evaluation of the test split
    records = work / size / f"seed_{cell.seed}" / "stages"
    runs = run_stages(stages, records, announce=lambda line: announce(f"  {line}"), is_quiet=is_quiet)
    folder = workdir_of(training, cell, work)
    metrics = json.loads((folder / "bundle" / "metrics.json").read_text("utf-8"))
    metrics = next(metrics[key] for key in _VALIDATION if key in metrics)
    record = json.loads((folder / "run.json").read_text("utf-8"))
    return {
        **{key: plan[key] for key in ("training", "number", "definition", "changes")},
        "score": metrics["score"],
        "metrics": metrics,
        "commit": record["commit"],
        "seconds": round(runs[-1].seconds, 3),
        "hardware": results_run.devices(record),
    }


def _words(changes: dict[str, Any]) -> str:
    return ", ".join(
        f"{field} {value:g}" if isinstance(value, float) else f"{field} {value}" for field, value in changes.items()
    )
