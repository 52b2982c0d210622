"""The result file: figures with everything needed to say what they are figures of."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fos_jax.errors import InputError
from fos_jax.files import write_whole


def write_results(path: str | Path, results: Mapping[str, Any]) -> None:
    """Writes `evaluate`'s results as JSON, whole or not at all."""
    write_whole(path, json.dumps(results, indent=1, allow_nan=False) + "\n")


def read_results(path: str | Path) -> dict[str, Any]:
    """Reads what `write_results` wrote; `InputError` names the file where it is something else."""
    try:
        results = json.loads(Path(path).read_text("utf-8"))
        version = results["format_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not an evaluation result ({type(error).__name__}: {error})") from None
    if version != 1:
        raise InputError(f"{path}: format_version is {version!r}, expected 1")
    return results
