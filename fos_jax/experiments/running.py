"""Run the cells of the results, or trials: those that are missing, as far as time allows, and keep what they give."""

import functools
import importlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from fos_jax.errors import InputError
from fos_jax.evaluation.from_files import read_results
from fos_jax.experiments.cells import (
    DATA_SIZES,
    DATASET,
    Cell,
    Method,
    Training,
    Trial,
    digest,
    evaluation_path,
    seedless_config,
    stages_of,
    trainings_of,
    workdir_of,
)
from fos_jax.experiments.methods import SEEDS
from fos_jax.experiments.results_file import PLAN, cell_row, read_records, results_path, short, write_records
from fos_jax.experiments.stages import StageError, StageRun, run_stages
from fos_jax.run_metadata import accelerator, describe_machine

Result = TypeVar("Result")
_VALIDATION = ("student_validation", "validation")  # of a bundle's metrics; a student's bundle has its teacher's too


def dataset_version() -> str:
    """Version of the data set that the code here builds."""
    module = importlib.import_module(f"fos_jax.datasets.{DATASET}.{DATASET}_dataset_builder")
    return str(module.Builder.VERSION)


def select(
    methods: Sequence[Method],
    *,
    only: Sequence[str],
    has_ablations: bool,
    size: str,
    seeds: Sequence[int],
    version: str,
) -> list[Cell]:
    """The cells to run, seed by seed; `InputError` for an unknown name in `only`.

    Args:
      methods: all there are, ablations too. only: names of those to run; empty for all of the main table.
      has_ablations: whether all ablations are run too. size, seeds, version: of the cells.
    """
    names = [method.name for method in methods]
    if unknown := [name for name in only if name not in names]:
        raise InputError(f"only: unknown {', '.join(unknown)}, expected some of {', '.join(names)}")
    chosen = [m for m in methods if (m.name in only if only else has_ablations or not m.group)]
    return [Cell(method, size, seed, version) for seed in seeds for method in chosen]


def write_plan(
    methods: Sequence[Method],
    *,
    size: str,
    seeds: Sequence[int],
    version: str,
    results: str | Path,
    trials: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Writes, and returns, what the results of a size are to hold: all methods with all seeds ever asked for.

    `trials` are those that the configs' numbers were chosen by. Earlier plans' seeds stay; a plan begins with the
    default ones, so that a table of one seed shows what is missing.
    """
    for method in methods:
        if not re.fullmatch(r"\w+", method.name, re.ASCII):
            raise ValueError(f"method {method.name!r}: expected letters, digits and underscores, for names of files")
    default = {"seeds": [] if size == "mini" else SEEDS}  # mini shows that it runs: nothing is missing there
    every = sorted({*read_records(results_path(results, size)).get(PLAN, default)["seeds"], *seeds})
    fields = ("name", "title", "kind", "note", "group", "rankings")
    plan = {
        "kind": PLAN,
        "seeds": every,
        "methods": [{field: getattr(method, field) for field in fields} for method in methods],
        "definitions": {
            f"{method.name}-{seed}": Cell(method, size, seed, version).definition
            for method in methods
            for seed in every
        },
        "trials": list(trials),
    }
    write_records(results_path(results, size), [plan])
    return plan


def run_cells(
    cells: Sequence[Cell],
    *,
    work: Path,
    data: Path,
    results: Path,
    jobs: int = 1,
    until_s: float | None = None,
    announce: Callable[[str], None] = print,
) -> list[str]:
    """Runs the cells (or trials) whose result is missing or was defined in another way.

    Args:
      cells: in the order of their run.
      work, data, results: folders of trainings, data set and results.
      jobs: cells at a time. Those that share a training wait for the one that runs it; with more than one, what
        programs print goes to files in <work>/<size>/seed_<seed>/stages.
      until_s: on the clock of `time.monotonic`; no cell is begun that would, by earlier times, end after it.
      announce: called with one line as something begins or ends.

    Returns: a sentence for each cell that failed. An interruption is passed on.
    """
    known = {size: read_records(results_path(results, size)) for size in {cell.size for cell in cells}}
    missing = [c for c in cells if known[c.size].get(c.key, {}).get("definition") != c.definition]
    noun = cells[0].noun if cells else Cell.noun
    announce(f"{len(cells) - len(missing)} of {len(cells)} {noun}s are done, {len(missing)} to run")
    late: list[Cell] = []
    built: set[str] = set()
    building = threading.Lock()

    def run(number: int, cell: Cell) -> str | None:
        path = results_path(results, cell.size)
        seconds = training_seconds(path)
        own = expected_seconds([cell], work, seconds)
        if late or (until_s is not None and time.monotonic() + (own or 0) >= until_s):
            late.append(cell)
            return None
        rest = expected_seconds(missing[number:], work, seconds)
        announce(
            f"{noun} {number + 1} of {len(missing)}: {cell.title} "
            f"({_duration(own)} of training; all that is missing: {_duration(rest)})"
        )
        try:
            with building:
                if cell.size not in built:
                    build_data(cell.size, data)
                    built.add(cell.size)
            runs = run_stages(
                stages_of(cell, work, data),
                work / cell.size / f"seed_{cell.seed}" / "stages",
                announce=lambda line: announce(f"  {line}"),
                is_quiet=jobs > 1,
            )
        except StageError as error:
            announce(f"  failed: {error}")
            return f"{cell.key.partition('-')[2]}: {error}"
        write_records(path, records_of(cell, work, runs))
        announce(f"  {cell.key} in {path}")
        return None

    failed = run_side_by_side([functools.partial(run, *pair) for pair in enumerate(missing)], jobs)
    if late:
        announce(f"time is up: {len(late)} {noun}s are not run")
    return [sentence for sentence in failed if sentence]


def run_side_by_side(tasks: Sequence[Callable[[], Result]], jobs: int) -> list[Result]:
    """Runs tasks in their order, `jobs` at a time; returns their results in the same order.

    An exception, or an interruption, ends it: no further task is begun, those under way are waited for. Programs that
    run side by side share a GPU: from here on none takes most of its memory beforehand, unless the environment already
    says something about that (XLA_PYTHON_CLIENT_PREALLOCATE).
    """
    if jobs == 1:  # in this thread, where an interruption arrives
        return [task() for task in tasks]
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(task) for task in tasks]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def records_of(cell: Cell, work: Path, runs: Sequence[StageRun]) -> list[dict[str, Any]]:
    """What is kept of a cell or trial whose stages were run, and the configs of its trainings."""
    seconds = {run.stage.name: round(run.seconds, 3) for run in runs}
    trainings, configs = [], []
    for training in trainings_of(cell.method):
        workdir = workdir_of(training, cell, work)
        # a program that trains in stages leaves one record in the folder of each
        records = [json.loads(path.read_text("utf-8")) for path in sorted(workdir.rglob("run.json"))]
        config = seedless_config(training, cell.size)
        configs.append({"kind": "config", "digest": digest(config), "config": config})
        hardware = [accelerator(r["devices"]) or f"{r['cpu_count']} CPU cores" for r in records]
        trainings.append(
            {
                "name": training.name,
                "commit": _one_line(record["commit"] for record in records),
                "seconds": seconds[workdir.name],
                "hardware": _one_line(hardware),
                "config": configs[-1]["digest"],
            }
        )
    if isinstance(cell, Trial):
        return [_trial_record(cell, work, trainings[-1]), configs[-1]]
    return [cell_record(cell, read_results(evaluation_path(cell, work)), trainings), *configs]


def cell_record(cell: Cell, evaluation: Mapping[str, Any], trainings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is kept of an evaluation with figures of single queries, whose rows bear the name of the cell's method.

    Of a method without rankings chance and the oracles are kept, and nothing else.
    Raises: ValueError where the evaluation lacks one of the method's rankings.
    """
    name, rankings, run = cell.method.name, cell.method.rankings, evaluation["metadata"]
    rows = [
        cell_row(row, evaluation["queries"]["category"])
        for row in evaluation["rows"]
        if (row["name"] == name and row["ranking"] in rankings if rankings else row["name"] != name)
    ]
    if missing := set(rankings) - {row["ranking"] for row in rows}:
        raise ValueError(f"evaluation of {name}: no ranking {sorted(missing)}")
    return {
        "kind": "cell",
        "method": name,
        "seed": cell.seed,
        "definition": cell.definition,
        "commit": run["commit"],
        "time": run["time"],
        "hardware": ", ".join(filter(None, [accelerator(run["devices"]), describe_machine()])),
        "versions": run["versions"],
        "convention": evaluation["convention"]["name"],
        "data": {**evaluation["data"], "query_ids": evaluation["queries"]["fingerprint"]},
        "counts": {key: evaluation["counts"][key] for key in ("queries", "foregrounds", "queries_without_relevant")},
        "bundle": evaluation["bundle"]["fingerprint"],
        "trainings": list(trainings),
        "teacher_accuracy": short(evaluation["teacher"]["pattern"]),
        "cost": evaluation.get("cost", {}).get(name),
        "rows": rows,
    }


def _trial_record(trial: Trial, work: Path, training: Mapping[str, Any]) -> dict[str, Any]:
    bundle = workdir_of(trial.method.training, trial, work) / "bundle"
    metrics = json.loads((bundle / "metrics.json").read_text("utf-8"))
    metrics = next(metrics[key] for key in _VALIDATION if key in metrics)
    return {
        "kind": "trial",
        "training": trial.method.name,
        "number": trial.number,
        "definition": trial.definition,
        "changes": trial.changes,
        "score": metrics["score"],
        "metrics": metrics,
        **{key: training[key] for key in ("commit", "seconds", "hardware", "config")},
    }


def training_seconds(path: Path) -> dict[str, float]:
    """Name of a training -> its mean time over the cells of a results file."""
    times: dict[str, list[float]] = {}
    for record in read_records(path).values():
        for training in record.get("trainings", ()):
            times.setdefault(training["name"], []).append(training["seconds"])
    return {name: sum(values) / len(values) for name, values in times.items()}


def expected_seconds(cells: Sequence[Cell], work: Path, seconds: Mapping[str, float]) -> float | None:
    """Time of the trainings that are still to be run, each counted once; None where one was never run."""
    to_run: dict[Path, Training] = {}
    for cell in cells:
        for training in trainings_of(cell.method):
            workdir = workdir_of(training, cell, work)
            if not (workdir / "bundle").exists():
                to_run[workdir] = training
    if any(training.name not in seconds for training in to_run.values()):
        return None
    return sum(seconds[training.name] for training in to_run.values())


def build_data(size: str, data: Path) -> None:
    """Builds the data set of a size; `StageError` where that fails.

    Leaves alone what is built. No stage: those remove stale outputs, and the data may be others' too.
    """
    command = ["--dataset", DATASET, "--size", DATA_SIZES[size], "--data_dir", str(data)]
    code = subprocess.run([sys.executable, "-m", "fos_jax.launch.dataset_build", *command], check=False).returncode
    if code != 0:
        raise StageError(f"the data set was not built (exit code {code}); the message is above")


def _one_line(values: Iterable[str | None]) -> str | None:
    return ", ".join(dict.fromkeys(value for value in values if value)) or None


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "unknown time"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
