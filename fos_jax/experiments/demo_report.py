"""What the demos do after their last stage: page, figures, tables on the terminal."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fos_jax.experiments.stages import StageRun


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
      console: of rich.
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
    from fos_jax.report import acceptance, assemble, demo_files
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
    missed = acceptance.unmet(result, rectangle_only=rectangle_only, two_streams=two_streams)
    metrics = demo_files.write_metrics(work / "metrics.json", result, stages, describe_machine(), missed)
    console.print(rich_tables(result))
    console.print(demo_files.time_table(stages, skipped={run.stage.name for run in runs if run.is_skipped}))
    console.print(f"Figures: {metrics.resolve()}", soft_wrap=True)
    console.print(f"Report:  {path.resolve()}", soft_wrap=True)
    for purpose, command in commands:
        console.print(f"\n{purpose}:\n  {command}", soft_wrap=True, markup=False)
    return result, missed
