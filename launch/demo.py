"""The whole way on two CPU cores: data set, teacher, student, rivals, evaluation, gallery, search and a report.

Stages whose output is up to date are skipped; an interrupted run goes on where it stopped. Exit code 1 where a stage
fails or the student does not beat its controls.
"""

import sys
import time
from pathlib import Path

from absl import flags
from fos_jax.launch.demo_stages import RECTANGLE_ONLY, TWO_STREAMS, search_commands, stages_of
from fos_jax.launch.program import run_program
from fos_jax.launch.stages import StageError, StageRun, run_stages

_WORKDIR = flags.DEFINE_string("workdir", "runs/demo", "Folder for everything but the data set.")
_DATA_DIR = flags.DEFINE_string("data_dir", "data", "Folder of the data set.")
_SIZE = flags.DEFINE_enum("size", "demo", ["demo", "tiny"], "demo: real figures. tiny: shows only that it runs.")


def main() -> int:
    from rich.console import Console

    console = Console(highlight=False)
    work, data, size = Path(_WORKDIR.value), Path(_DATA_DIR.value), _SIZE.value
    try:
        stages = stages_of(work, data, size)
        runs = run_stages(
            stages, work / "stages", announce=lambda line: console.print(line, style="bold", markup=False)
        )
    except StageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    console.print(
        f"[{len(runs)} of {len(runs)} stages done] report: search, composites, map", style="bold", markup=False
    )
    missed = _report(console, work, data, size, runs)
    if size == "tiny":
        console.print("\nSize tiny shows that everything runs; its figures mean nothing.")
        return 0
    for sentence in missed:
        print(f"error: {sentence}", file=sys.stderr)
    return 1 if missed else 0


def _report(console, work: Path, data: Path, size: str, runs: list[StageRun]) -> list[str]:
    """Writes page and metrics, prints the tables; returns what the figures miss."""
    from fos_jax.data.splits import load_split
    from fos_jax.evaluation.results import read_results
    from fos_jax.evaluation.tables import rich_tables
    from fos_jax.report import acceptance, assemble, demo_files
    from fos_jax.report.machine import describe_machine
    from fos_jax.report.page import write_report
    from fos_jax.retrieval.search import ForegroundSearch

    started = time.monotonic()
    result = read_results(work / "evaluation.json")
    search = ForegroundSearch.open(work / "gallery")
    sides = {"foreground_size": search.bundle.foreground_size, "query_size": search.bundle.query_size}
    foregrounds, queries, _ = load_split(data, size=size, split="test", **sides)
    stages = [(run.stage.name, run.seconds, run.stage.note) for run in runs]
    names = assemble.Names(rectangle_only=RECTANGLE_ONLY, two_streams=TWO_STREAMS)
    report = assemble.assemble_report(
        result=result,
        search=search,
        queries=queries,
        foregrounds=foregrounds,
        workdirs={"teacher": work / "teacher", "student": work / "student"}
        | {RECTANGLE_ONLY: work / "rectangle_only", TWO_STREAMS: work / "two_streams"},
        names=names,
        stages=stages,
        machine=describe_machine(),
        commands=search_commands(work),
    )
    page = write_report(report, work / "report" / "index.html")
    stages.append(("report", time.monotonic() - started, "search, composites, map"))
    missed = acceptance.unmet(result, rectangle_only=RECTANGLE_ONLY, two_streams=TWO_STREAMS)
    metrics = demo_files.write_metrics(work / "metrics.json", result, stages, describe_machine(), missed)
    console.print(rich_tables(result))
    console.print(demo_files.time_table(stages, skipped={run.stage.name for run in runs if run.is_skipped}))
    console.print(f"Figures: {metrics.resolve()}", soft_wrap=True)
    console.print(f"Report:  {page.resolve()}", soft_wrap=True)
    for purpose, command in report.commands:
        console.print(f"\n{purpose}:\n  {command}", soft_wrap=True, markup=False)
    return missed


def run() -> None:
    run_program(main)


if __name__ == "__main__":
    run()
