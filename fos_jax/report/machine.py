"""One line on the machine a figure was measured on."""

import os
import platform
from pathlib import Path


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
