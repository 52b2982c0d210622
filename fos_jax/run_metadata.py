"""Run metadata: the commit, command, versions and hardware that a figure or a model comes from."""

import datetime
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PACKAGES = (
    "fos-jax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "grain",
    "numpy",
    "tensorflow-datasets",
    "scipy",
    "scikit-learn",
)


def run_metadata() -> dict[str, Any]:
    """Commit, command, time (UTC), versions and hardware of this process, ready for JSON."""
    return {
        "commit": commit(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": versions(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cpu_count": os.cpu_count(),
        "devices": devices(),
    }


def commit() -> str | None:
    """Commit of the source tree this package runs from, with `-dirty` where it was changed.

    Outside a checkout: what the environment variable FOS_JAX_COMMIT says, such as in an image that was built of one;
    None where it is not set.
    """
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return os.environ.get("FOS_JAX_COMMIT") or None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str | None]:
    """Name of a package -> its installed version, None where it is not installed."""
    found: dict[str, str | None] = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def devices() -> dict[str, Any]:
    """JAX's devices: how many of which kind in how many processes."""
    import jax

    found = jax.devices()
    return {"count": len(found), "kind": found[0].device_kind, "processes": jax.process_count()}


def accelerator(devices: dict[str, Any]) -> str:
    """E.g. "2 × NVIDIA H100" from `devices`; empty for a CPU."""
    return "" if devices["kind"].lower() == "cpu" else f"{devices['count']} × {devices['kind']}"


def describe_machine(*, cpuinfo: str | Path = "/proc/cpuinfo") -> str:
    """E.g. "2 cores, Example CPU @ 2.4 GHz, Linux x86_64"; what cannot be found out is left out."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parts = [f"{cores} core{'s' if cores != 1 else ''}", _cpu_name(Path(cpuinfo)) or platform.processor()]
    return ", ".join(part for part in [*parts, f"{platform.system()} {platform.machine()}"] if part)


def _cpu_name(cpuinfo: Path) -> str:
    try:
        lines = cpuinfo.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name") and ":" in line]
    return " ".join(names[0].split()) if names else ""
