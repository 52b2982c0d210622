"""Running the cells of the results one after another: which are missing, how long they take, what is kept of each."""

import contextlib
import functools
import importlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fos_jax.errors import InputError
from fos_jax.evaluation.results import read_results
from fos_jax.experiments import cell_files as files
from fos_jax.experiments.cells import (
    DATA_SIZES,
    DATASET,
    Cell,
    Method,
    Training,
    evaluation_path,
    resolved_config,
    stages_of,
    trainings_of,
    workdir_of,
)
from fos_jax.experiments.methods import SEEDS
from fos_jax.experiments.side_by_side import run_side_by_side
from fos_jax.experiments.stages import StageError, StageRun, run_stages
from fos_jax.run_metadata import accelerator, describe_machine


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
    before: Sequence[int] = () if size == "mini" else SEEDS  # mini shows that it runs: nothing is missing there
    with contextlib.suppress(InputError):
        before = files.read_plan(results, size)["seeds"]
    every = sorted({*before, *seeds})
    plan = {
        "seeds": every,
        "methods": [
            {
                **{key: getattr(method, key) for key in ("name", "title", "kind", "note", "group")},
                "rankings": list(method.rankings),
            }
            for method in methods
        ],
        "definitions": {
            f"{method.name}-{seed}": Cell(method, size, seed, version).definition
            for method in methods
            for seed in every
        },
        "trials": list(trials),
    }
    files.write_plan(results, size, plan)
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
    """Runs the cells whose result is missing or was defined in another way.

    Args:
      cells: in the order of their run.
      work, data, results: folders of trainings, data set and results.
      jobs: cells at a time. Those that share a training wait for the one that is at it; with more than one, what
        programs print goes to files in <work>/<size>/seed_<seed>/stages.
      until_s: on the clock of `time.monotonic`; no cell is begun that would, by earlier times, end after it.
      announce: called with one line as something begins or ends.

    Returns: a sentence for each cell that failed. An interruption is passed on.
    """
    missing = [cell for cell in cells if not is_done(cell, results)]
    announce(f"{len(cells) - len(missing)} of {len(cells)} cells are done, {len(missing)} to run")
    late: list[Cell] = []
    built: set[str] = set()
    building = threading.Lock()

    def run(number: int, cell: Cell) -> str | None:
        seconds = training_seconds(results, {cell.size})
        own = expected_seconds([cell], work, seconds)
        if late or (until_s is not None and time.monotonic() + (own or 0) >= until_s):
            late.append(cell)
            return None
        rest = expected_seconds(missing[number:], work, seconds)
        announce(
            f"cell {number + 1} of {len(missing)}: {cell.title} "
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
            return f"{cell.method.name}, seed {cell.seed}: {error}"
        announce(f"  {files.write_cell(results, result_of(cell, work, runs))}")
        return None

    failed = run_side_by_side([functools.partial(run, *pair) for pair in enumerate(missing)], jobs)
    if late:
        announce(f"time is up: {len(late)} cells are not run")
    return [sentence for sentence in failed if sentence]


def is_done(cell: Cell, results: Path) -> bool:
    """Whether the cell's file is there and was defined as now."""
    path = cell.id.path(results)
    return path.exists() and files.read_cell(path)["definition"] == cell.definition


def result_of(cell: Cell, work: Path, runs: Sequence[StageRun]) -> dict[str, Any]:
    """What is kept of a cell whose stages were run."""
    seconds = {run.stage.name: run.seconds for run in runs}
    trainings = []
    for training in trainings_of(cell.method):
        workdir = workdir_of(training, cell, work)
        # a program that trains in stages leaves one record in the folder of each
        records = [json.loads(path.read_text("utf-8")) for path in sorted(workdir.rglob("run.json"))]
        trainings.append(
            {
                "name": training.name,
                "folder": workdir.name,
                "commit": _one_line(record["commit"] for record in records),
                "seconds": round(seconds[workdir.name], 3),
                "hardware": _one_line(map(devices, records)),
                "config": {**resolved_config(training, cell.size).to_dict(), "seed": cell.seed},
            }
        )
    evaluation = read_results(evaluation_path(cell, work))
    return files.cell_of(
        evaluation,
        cell.id,
        definition=cell.definition,
        rankings=cell.method.rankings,
        trainings=trainings,
        hardware=", ".join(filter(None, [accelerator(evaluation["metadata"]["devices"]), describe_machine()])),
    )


def training_seconds(results: Path, sizes: Iterable[str]) -> dict[str, float]:
    """Name of a training -> its mean time over the cells there are."""
    times: dict[str, list[float]] = {}
    for size in sizes:
        for path in sorted((results / size).glob("*-*.json")):
            for training in files.read_cell(path)["trainings"]:
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


def devices(run: Mapping[str, Any]) -> str:
    """Hardware of a training, from its run.json."""
    return accelerator(run["devices"]) or f"{run['cpu_count']} CPU cores"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "unknown time"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
