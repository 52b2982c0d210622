"""What the demo leaves beside its page: the figures as JSON, and the table of times."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fos_jax.files import write_whole
from fos_jax.report.figures import headline_row

if TYPE_CHECKING:
    from rich.table import Table

Stage = tuple[str, float, str]


def write_metrics(
    path: str | Path, result: Mapping[str, Any], stages: Sequence[Stage], machine: str, missed: Sequence[str]
) -> Path:
    """Writes the figures of a demo run, whole or not at all.

    Args:
      path: of the JSON file.
      result: of the evaluation; kept in full under "evaluation".
      stages: (name, seconds, note).
      machine: one line on the hardware.
      missed: what the run should have reached and did not.

    Returns:
      The path.
    """
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


def time_table(stages: Sequence[Stage], *, skipped: Collection[str] = ()) -> "Table":
    """Wall time of each stage for a terminal; skipped stages show the time of the run that made their output."""
    from rich.table import Table

    table = Table(title="Time", title_justify="left", show_footer=True)
    table.add_column("stage", footer="together")
    table.add_column("", footer="")
    table.add_column("seconds", justify="right", footer=f"{sum(seconds for _, seconds, _ in stages):.0f}")
    for name, seconds, note in stages:
        table.add_row(name, note + (" (up to date, from an earlier run)" if name in skipped else ""), f"{seconds:.0f}")
    return table
