"""The result file: figures with everything needed to say what they are figures of."""

import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from fos_jax.errors import InputError
from fos_jax.files import write_whole
from fos_jax.training import record


def circumstances() -> dict[str, Any]:
    """Commit, command, time (UTC), package versions and hardware of this process."""
    devices = jax.devices()
    versions = {}
    for name in (*record.PACKAGES, "scipy", "scikit-learn"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        "commit": record.commit(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": versions,
        "machine": f"{platform.system()} {platform.machine()}",
        "cpu_count": os.cpu_count(),
        "devices": {"count": len(devices), "kind": devices[0].device_kind},
    }


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
