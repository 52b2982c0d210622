"""Arguments, JSON lines and run metadata that all benchmarks share."""

import argparse
import contextlib
import json
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fos_jax.run_metadata import run_metadata

if TYPE_CHECKING:
    from fos_jax.evaluation.bootstrap import PairedDifference
    from fos_jax.experiments.over_seeds import SeedDifference

REAL = Path(__file__).resolve().parents[2] / "shared" / "real"  # photographs, outside the repository

_SHARED: dict[str, dict[str, Any]] = {
    "bundle": {"default": "runs/demo/student/bundle", "help": "a student's bundle"},
    "data_dir": {"default": "data", "help": "directory that data sets were built in"},
    "size": {"default": "demo", "help": "size of fos_synthetic"},
    "split": {"default": "test", "help": "train, validation or test"},
    "workdir": {"help": "keeps what took long; a run that was stopped goes on there"},
    "output": {"help": "JSON file for all lines and the run metadata"},
    "pictures": {"type": Path, "help": "folder for sheets of pictures"},
}


def make_parser(doc: str | None, *shared: str) -> argparse.ArgumentParser:
    """A parser that explains itself by the module's docstring and has some of the `_SHARED` arguments."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in shared:
        parser.add_argument(f"--{name}", **_SHARED[name])
    return parser


def machine() -> dict[str, Any]:
    """Processor and Python of this process, for a benchmark's line."""
    return {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}


def interval(gap: "PairedDifference | SeedDifference") -> dict[str, Any]:
    """A difference and its 95 % interval, for a benchmark's line."""
    return {"difference": round(gap.difference, 4), "interval_95": [round(gap.low, 4), round(gap.high, 4)]}


@contextlib.contextmanager
def work_folder(given: str | None) -> Iterator[Path]:
    """The folder given, made where it is missing, or a temporary one."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(given or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        yield folder


class Report:
    """Prints each line of a benchmark as JSON and keeps it."""

    def __init__(self, benchmark: str):
        self.benchmark, self.lines = benchmark, list[dict[str, Any]]()

    def __call__(self, line: Mapping[str, Any]) -> None:
        self.lines.append({"benchmark": self.benchmark, **line})
        print(json.dumps(self.lines[-1]), flush=True)

    def lacks(self, *paths: str | Path) -> bool:
        """Whether one of the paths is absent; the benchmark then says so and is skipped."""
        absent = [str(path) for path in paths if not Path(path).exists()]
        if absent:
            self({"skipped": f"{', '.join(absent)} absent"})
        return bool(absent)

    def write(self, path: str | None, **more: Any) -> None:
        """Writes all lines, the run metadata and what else is given to `--output`, if there is one."""
        if path:
            Path(path).write_text(json.dumps({**run_metadata(), **more, "lines": self.lines}, indent=1) + "\n")
