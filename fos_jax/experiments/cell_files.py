"""Cells of the results: one method with one seed, as a small JSON file that figures and intervals are made from.

`results/<size>/plan.json` says which cells there should be and how each is defined; `<method>-<seed>.json` beside it
holds a cell. It keeps the average precision of each query (in units of 1e-4), so that methods can be compared query by
query.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fos_jax.errors import InputError
from fos_jax.evaluation.measure import HEADLINE
from fos_jax.files import write_whole

FORMAT_VERSION = 1
PLAN = "plan.json"
_UNIT = 1e-4
_LEFT_OUT = "-"


class CellId(NamedTuple):
    """Which cell: size of the data, method's name, seed of training."""

    size: str
    method: str
    seed: int

    def path(self, results: str | Path) -> Path:
        """Its file below the results folder."""
        return Path(results) / self.size / f"{self.method}-{self.seed}.json"


def cell_of(
    evaluation: Mapping[str, Any],
    cell_id: CellId,
    *,
    definition: str,
    rankings: Sequence[str],
    trainings: Sequence[Mapping[str, Any]],
    hardware: str,
) -> dict[str, Any]:
    """What is kept of an evaluation.

    Args:
      evaluation: of `from_files.evaluate_files(..., per_query=True)` of a bundle that was given the method's name.
      cell_id: the cell. definition: digest of what was chosen for it.
      rankings: the method's rows to keep; none keeps chance and the oracles, and nothing else.
      trainings: of each training behind it: name, commit, seconds, hardware, config.
      hardware: that the evaluation ran on.

    Raises: ValueError where the evaluation has no such row or no figures of single queries.
    """
    queries = evaluation["queries"]
    rows = []
    for row in evaluation["rows"]:
        if (
            (row["name"] == cell_id.method and row["ranking"] in rankings)
            if rankings
            else row["name"] != cell_id.method
        ):
            rows.append(_row(row, queries["category"]))
    missing = set(rankings) - {row["ranking"] for row in rows}
    if missing:
        raise ValueError(f"evaluation of {cell_id.method}: no ranking {sorted(missing)}")
    data, run = evaluation["data"], evaluation["metadata"]
    return {
        "format_version": FORMAT_VERSION,
        **cell_id._asdict(),
        "definition": definition,
        "commit": run["commit"],
        "time": run["time"],
        "hardware": hardware,
        "versions": run["versions"],
        "convention": evaluation["convention"]["name"],
        "data": {**data, "query_ids": queries["fingerprint"]},
        "counts": {name: evaluation["counts"][name] for name in ("queries", "foregrounds", "queries_without_relevant")},
        "bundle": evaluation["bundle"]["fingerprint"],
        "trainings": list(trainings),
        "teacher_accuracy": _short(evaluation["teacher"]["pattern"]),
        "cost": evaluation.get("cost", {}).get(cell_id.method),
        "rows": rows,
    }


def _row(row: Mapping[str, Any], category: Sequence[str]) -> dict[str, Any]:
    def value(figure: Mapping[str, Any] | None) -> float | None:
        return None if figure is None else _short(figure["value"])

    precision: dict[str, list[str]] = {}
    for name, ap in zip(category, row["per_query"], strict=True):
        precision.setdefault(name, []).append(_LEFT_OUT if ap is None else str(round(ap / _UNIT)))
    return {
        **{key: row[key] for key in ("name", "ranking", "kind", "note", "num_queries", "num_left_out")},
        "figures": {metric: value(figure) for metric, figure in row["figures"].items()},
        "by_category": {name: value(part["figures"][HEADLINE]) for name, part in row["by_category"].items()},
        "by_compatible": {
            name: {"num_queries": part["num_queries"], "map": value(part["figures"][HEADLINE])}
            for name, part in row["by_compatible"].items()
        },
        "by_attribute": {
            name: {a: {"accuracy": value(of["accuracy"]), "map": value(of["map"])} for a, of in attributes.items()}
            for name, attributes in row["by_attribute"].items()
        },
        "calibration": row["calibration"]
        and {
            key: _short(number) if isinstance(number, float) else number for key, number in row["calibration"].items()
        },
        "fosd_map": row["fosd"] and row["fosd"]["map"],
        "ranking_ms": row.get("ranking_ms"),
        "average_precision": {name: " ".join(values) for name, values in precision.items()},
    }


def average_precision(row: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """(float64 [n], NaN where left out; str [n], the category) of a row's queries, category by category."""
    names, values = [], []
    for name, text in row["average_precision"].items():
        words = text.split()
        names += [name] * len(words)
        values += [np.nan if word == _LEFT_OUT else int(word) * _UNIT for word in words]
    return np.array(values, float), np.array(names)


def write_cell(results: str | Path, cell: Mapping[str, Any]) -> Path:
    """Writes a cell's file whole or not at all; `InputError` where the system refuses."""
    path = CellId(cell["size"], cell["method"], cell["seed"]).path(results)
    write_whole(path, json.dumps(cell, indent=1, allow_nan=False) + "\n")
    return path


def read_cell(path: str | Path) -> dict[str, Any]:
    """Reads what `write_cell` wrote; `InputError` names the file where it is something else."""
    try:
        cell = json.loads(Path(path).read_text("utf-8"))
        version, cell_id = cell["format_version"], CellId(cell["size"], cell["method"], cell["seed"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a cell of results ({type(error).__name__}: {error})") from None
    if version != FORMAT_VERSION:
        raise InputError(f"{path}: format_version is {version!r}, expected {FORMAT_VERSION}")
    if cell_id.path("").parts != Path(path).parts[-2:]:
        raise InputError(f"{path}: holds {cell_id.path('')}, expected the cell of its own name")
    return cell


def write_plan(results: str | Path, size: str, plan: Mapping[str, Any]) -> None:
    """Writes which cells a size should have.

    Args:
      results, size: where. plan: `seeds` [int], `methods` [{name, title, kind, note, group, rankings}] in the order of
        the tables, `definitions` {"<method>-<seed>": digest}.

    Raises: ValueError for a method's name that is no file name.
    """
    for method in plan["methods"]:
        if not re.fullmatch(r"\w+", method["name"]):
            raise ValueError(f"method: {method['name']!r}, expected letters, digits and underscores")
    write_whole(Path(results) / size / PLAN, json.dumps(plan, indent=1) + "\n")


def read_plan(results: str | Path, size: str) -> dict[str, Any]:
    """Reads what `write_plan` wrote; `InputError` where there is none."""
    path = Path(results) / size / PLAN
    try:
        plan = json.loads(path.read_text("utf-8"))
        _ = plan["seeds"], plan["methods"], plan["definitions"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a plan of results ({type(error).__name__}: {error})") from None
    return plan


def read_cells(results: str | Path, size: str, plan: Mapping[str, Any]) -> dict[CellId, dict[str, Any]]:
    """The plan's cells that were run as it defines them; `InputError` where a file is damaged."""
    cells = {}
    for method in plan["methods"]:
        for seed in plan["seeds"]:
            cell_id = CellId(size, method["name"], seed)
            if cell_id.path(results).exists():
                cell = read_cell(cell_id.path(results))
                if cell["definition"] == plan["definitions"].get(f"{cell_id.method}-{seed}"):
                    cells[cell_id] = cell
    return cells


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
