"""Trials on validation that a config's numbers were chosen by: one small JSON file each, in results/<size>/trials."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fos_jax.errors import InputError
from fos_jax.files import write_whole

FORMAT_VERSION = 1
FOLDER = "trials"


def trial_path(results: str | Path, size: str, training: str, number: int) -> Path:
    """File of a trial."""
    return Path(results) / size / FOLDER / f"{training}-{number}.json"


def write_trial(results: str | Path, size: str, trial: Mapping[str, Any]) -> Path:
    """Writes a trial whole or not at all.

    Args:
      results, size: where.
      trial: `training`, `number`, `definition` (digest of what was run), `changes` {config field: value}, `score` (what
        is chosen by, higher is better), `metrics` {name: number} on validation, `commit`, `seconds`, `hardware`.
    """
    path = trial_path(results, size, trial["training"], trial["number"])
    write_whole(path, json.dumps({"format_version": FORMAT_VERSION, **trial}, indent=1, allow_nan=False) + "\n")
    return path


def read_trials(results: str | Path, size: str, planned: Sequence[Mapping[str, Any]]) -> list[dict[str, Any] | None]:
    """The planned trials ({training, number, definition}) in their order; None for one that was not run as planned.

    Raises:
      InputError: a file is damaged.
    """
    return [_read(trial_path(results, size, plan["training"], plan["number"]), plan["definition"]) for plan in planned]


def _read(path: Path, definition: str) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        trial = json.loads(path.read_text("utf-8"))
        version = trial["format_version"]
        _ = trial["training"], trial["number"], trial["changes"], float(trial["score"]), trial["metrics"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a trial ({type(error).__name__}: {error})") from None
    if version != FORMAT_VERSION:
        raise InputError(f"{path}: format_version is {version!r}, expected {FORMAT_VERSION}")
    return trial if trial["definition"] == definition else None
