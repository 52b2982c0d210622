"""Results of one size in one JSON-lines file: a line per cell, trial and training config, and the plan.

The plan says which cells there should be and how each is defined. A cell (a method with a seed) keeps the average
precision of each query, in units of 1e-4, so that methods can be compared query by query. Trainings name their
configs by digest; a config is stored once and without seed, which is the cell's.
"""

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fos_jax.errors import InputError
from fos_jax.files import write_whole

FORMAT_VERSION = 2
PLAN = "plan"
# kind of record -> fields that tell its records apart, further fields that must be there; in the order of the file
_KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    PLAN: ((), ("seeds", "methods", "definitions", "trials")),
    "config": (("digest",), ("config",)),
    "trial": (("training", "number"), ("definition", "changes", "score", "metrics", "seconds")),
    "cell": (("method", "seed"), ("definition", "rows", "trainings", "data")),
}
_UNIT = 1e-4
_LEFT_OUT = "-"

Record = Mapping[str, Any]


def results_path(results: str | Path, size: str) -> Path:
    return Path(results) / f"{size}.jsonl"


def record_key(record: Record) -> str:
    """E.g. "cell-student-0"; a record replaces the one of the same key."""
    names, _ = _KINDS[record["kind"]]
    return "-".join([record["kind"], *(str(record[name]) for name in names)])


def read_records(path: str | Path) -> dict[str, dict[str, Any]]:
    """Key -> record, empty where there is no file; `InputError` names the line that is damaged."""
    path, records = Path(path), {}
    for number, line in enumerate(path.read_text("utf-8").splitlines() if path.exists() else [], 1):
        try:
            record = json.loads(line)
            version, key = record["format_version"], record_key(record)
            _ = [record[field] for field in _KINDS[record["kind"]][1]]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}, line {number}: not a record ({type(error).__name__}: {error})") from None
        if version != FORMAT_VERSION:
            raise InputError(f"{path}, line {number}: format_version is {version!r}, expected {FORMAT_VERSION}")
        records[key] = record
    return records


def write_records(path: str | Path, records: Sequence[Record]) -> None:
    """Adds records, each in place of the one with its key; the file is written whole or not at all.

    Programs that write at the same time wait for each other. Raises: InputError where the system refuses.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        every = read_records(path)
        every |= {record_key(record): {"format_version": FORMAT_VERSION, **record} for record in records}
        lines = [
            json.dumps(every[key], allow_nan=False, separators=(",", ":"))
            for kind in _KINDS
            for key in sorted(key for key in every if every[key]["kind"] == kind)
        ]
        write_whole(path, "\n".join(lines) + "\n")
    finally:
        os.close(folder)


def cell_row(row: Mapping[str, Any], category: Sequence[str]) -> dict[str, Any]:
    """What is kept of an evaluation's row; `category` are the names of its queries' categories."""

    def value(figure: Mapping[str, Any] | None) -> float | None:
        return None if figure is None else short(figure["value"])

    precision: dict[str, list[str]] = {}
    for name, ap in zip(category, row["per_query"], strict=True):
        precision.setdefault(name, []).append(_LEFT_OUT if ap is None else str(round(ap / _UNIT)))
    return {
        **{key: row[key] for key in ("name", "ranking", "kind", "note", "num_queries", "num_left_out")},
        "figures": {metric: value(figure) for metric, figure in row["figures"].items()},
        "by_category": {name: value(part["figures"]["map"]) for name, part in row["by_category"].items()},
        "by_compatible": {
            name: {"num_queries": part["num_queries"], "map": value(part["figures"]["map"])}
            for name, part in row["by_compatible"].items()
        },
        "by_attribute": {
            name: {a: {"accuracy": value(of["accuracy"]), "map": value(of["map"])} for a, of in attributes.items()}
            for name, attributes in row["by_attribute"].items()
        },
        "calibration": row["calibration"] and {key: short(number) for key, number in row["calibration"].items()},
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


def short(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value
