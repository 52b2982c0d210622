"""After the last stage of a demo: page, figures as JSON, tables on the terminal."""

import json
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fos_jax.experiments.stages import StageRun
from fos_jax.files import write_whole
from fos_jax.report.figures import headline_row

if TYPE_CHECKING:
    from rich.table import Table

Times = Sequence[tuple[str, float, str]]  # name of a stage, seconds, note


def write_demo_report(
    console: Any,
    work: Path,
    data_dir: Path,
    runs: Sequence[StageRun],
    *,
    dataset: str,
    size: str,
    rivals: Mapping[str, str],
    rectangle_only: str,
    two_streams: str | None,
    commands: Sequence[tuple[str, str]],
    **page: Any,
) -> tuple[Mapping[str, Any], list[str]]:
    """Writes `report/index.html` and `metrics.json` in the work folder and prints the tables.

    Args:
      work, data_dir: folders of the demo; the gallery, the evaluation and the runs lie in `work`.
      runs: of the stages.
      dataset, size: what was trained and evaluated on.
      rivals: name in the evaluation -> folder below `work`.
      rectangle_only, two_streams: names of those that count for the verdict; None: not run.
      commands: (purpose, shell command) pairs for the reader.
      page: title, summary and pictures, see `assemble_report`.

    Returns:
      The evaluation, and sentences on what it misses.
    """
    from fos_jax.data.splits import load_split
    from fos_jax.evaluation.from_files import read_results
    from fos_jax.evaluation.tables import rich_tables
    from fos_jax.report import assemble, figures
    from fos_jax.report.page import write_report
    from fos_jax.retrieval.search import ForegroundSearch
    from fos_jax.run_metadata import describe_machine

    started = time.monotonic()
    result = read_results(work / "evaluation.json")
    search = ForegroundSearch.open(work / "gallery")
    sides = {"foreground_size": search.bundle.foreground_size, "query_size": search.bundle.query_size}
    foregrounds, queries, _ = load_split(data_dir, dataset=dataset, size=size, split="test", **sides)
    stages = [(run.stage.name, run.seconds, run.stage.note) for run in runs]
    report = assemble.assemble_report(
        result=result,
        search=search,
        queries=queries,
        foregrounds=foregrounds,
        workdirs={"teacher": work / "teacher", "student": work / "student"}
        | {name: work / folder for name, folder in rivals.items()},
        names=assemble.Names(rectangle_only=rectangle_only, two_streams=two_streams),
        stages=stages,
        machine=describe_machine(),
        commands=commands,
        **page,
    )
    path = write_report(report, work / "report" / "index.html")
    stages.append(("report", time.monotonic() - started, "search, composites, map"))
    missed = figures.unmet(result, rectangle_only=rectangle_only, two_streams=two_streams)
    metrics = write_metrics(work / "metrics.json", result, stages, describe_machine(), missed)
    console.print(rich_tables(result))
    console.print(time_table(stages, skipped={run.stage.name for run in runs if run.is_skipped}))
    console.print(f"Figures: {metrics.resolve()}", soft_wrap=True)
    console.print(f"Report:  {path.resolve()}", soft_wrap=True)
    for purpose, command in commands:
        console.print(f"\n{purpose}:\n  {command}", soft_wrap=True, markup=False)
    return result, missed


def write_metrics(
    path: str | Path, result: Mapping[str, Any], stages: Times, machine: str, missed: Sequence[str]
) -> Path:
    """Writes the figures of a demo run as JSON, whole or not at all; `missed`: what it should have reached."""
    headline = headline_row(result)
    content = {
        "headline": {"name": headline["name"], "ranking": headline["ranking"], **headline["figures"]["map"]},
        "map": {" ".join(filter(None, (row["name"], row["ranking"]))): row["figures"]["map"] for row in result["rows"]},
        "stages_s": {name: round(seconds, 1) for name, seconds, _ in stages},
        "total_s": round(sum(seconds for _, seconds, _ in stages), 1),
        "machine": machine,
        "missed": list(missed),
        "evaluation": result,
    }
    write_whole(path, json.dumps(content, indent=1) + "\n")
    return Path(path)


def time_table(stages: Times, *, skipped: Collection[str] = ()) -> "Table":
    """Wall time of each stage for a terminal; skipped stages show the time of the run that made their output."""
    from rich.table import Table

    table = Table(title="Time", title_justify="left", show_footer=True)
    table.add_column("stage", footer="together")
    table.add_column("", footer="")
    table.add_column("seconds", justify="right", footer=f"{sum(seconds for _, seconds, _ in stages):.0f}")
    for name, seconds, note in stages:
        table.add_row(name, note + (" (up to date, from an earlier run)" if name in skipped else ""), f"{seconds:.0f}")
    return table
