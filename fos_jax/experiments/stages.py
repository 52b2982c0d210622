"""Stages of a longer run: programs in processes of their own, each skipped where its output is up to date.

A process each: absl flags of several programs do not meet, and what a stage allocated and compiled goes with it. A file
is locked while a stage runs: runs side by side that share a stage wait for the one that runs it.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from fos_jax.files import write_whole

CONFIG_PACKAGE = "fos_jax.launch.configs"  # read as files: experiments must not import what lies above them


class StageError(RuntimeError):
    """A stage's program failed; it printed the reason itself."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """One program of a run.

    Attributes:
      name: short, unique; also the name of its record.
      command: module below fos_jax and its flags.
      outputs: files and folders it leaves; they are removed where they are stale.
      sources: modules and packages below fos_jax whose code the output depends on, beyond those of earlier stages.
      after: names of the stages whose outputs it reads.
      note: half a sentence for people.
    """

    name: str
    command: Sequence[str]
    outputs: Sequence[Path]
    sources: Sequence[str]
    after: Sequence[str] = ()
    note: str = ""


@dataclasses.dataclass(frozen=True)
class StageRun:
    """What became of a stage: its time in seconds (of the run that made its output) and whether it was skipped now."""

    stage: Stage
    seconds: float
    is_skipped: bool


def run_stages(
    stages: Sequence[Stage], records: Path, *, announce: Callable[[str], None] = print, is_quiet: bool = False
) -> list[StageRun]:
    """Runs what is missing or stale, in order.

    A stage is up to date where its record says that the same command on the same inputs with the same code left
    outputs of the same size. A stage that was interrupted goes on in what it left; one that is stale starts anew.

    Args:
      stages: in the order of their run.
      records: folder of one small JSON file per stage.
      announce: called with one line as a stage starts or is skipped.
      is_quiet: what a program prints goes to a file beside its record instead of the terminal.

    Returns:
      One entry per stage.

    Raises:
      StageError: a program failed or left no output.

    Source: decision 31.
    """
    runs: list[StageRun] = []
    fingerprints: dict[str, str] = {}
    for number, stage in enumerate(stages, 1):
        fingerprint = fingerprints[stage.name] = _fingerprint(stage, fingerprints)
        path, log = records / f"{stage.name}.json", records / f"{stage.name}.log" if is_quiet else None
        title = f"[{number}/{len(stages)}] {stage.name}"
        with _locked(path.with_suffix(".lock")):
            record = _read(path)
            is_same = record.get("fingerprint") == fingerprint
            if is_same and record.get("outputs") == {str(p): size_of(p) for p in stage.outputs}:
                announce(f"{title}: up to date")
                runs.append(StageRun(stage, float(record["seconds"]), True))
                continue
            if not is_same:
                _remove(stage.outputs)
            announce(f"{title}: {stage.note or ' '.join(stage.command)}")
            spent = float(record.get("seconds", 0)) if is_same and "outputs" not in record else 0.0
            seconds = _run(stage, path, log, fingerprint, spent)
        runs.append(StageRun(stage, seconds, False))
    return runs


def _run(stage: Stage, path: Path, log: Path | None, fingerprint: str, spent: float) -> float:
    """Runs one stage's program, keeps its record up to date, and returns all seconds that were spent on it."""
    started = time.monotonic()
    try:
        write_whole(path, json.dumps({"fingerprint": fingerprint, "seconds": spent}))
        module, *flags = stage.command
        command = [sys.executable, "-m", f"fos_jax.{module}", *flags]
        with open(log, "ab") if log else contextlib.nullcontext() as output:
            code = subprocess.run(command, check=False, stdout=output, stderr=output).returncode
    finally:
        seconds = spent + time.monotonic() - started
        write_whole(path, json.dumps({"fingerprint": fingerprint, "seconds": seconds}))
    if code != 0:
        where = f"in {log}" if log else "above"
        raise StageError(f"stage {stage.name} failed (exit code {code}); its message is {where}")
    missing = [str(p) for p in stage.outputs if not p.exists()]
    if missing:
        raise StageError(f"stage {stage.name} left no {', '.join(missing)}")
    outputs = {str(p): size_of(p) for p in stage.outputs}
    write_whole(path, json.dumps({"fingerprint": fingerprint, "seconds": seconds, "outputs": outputs}))
    return seconds


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds a lock that ends with the process; waits for whoever else holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def size_of(path: Path) -> list[int] | None:
    """[number of files, their bytes] of a file or folder, None where there is none."""
    if not path.exists():
        return None
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return [len(files), sum(file.stat().st_size for file in files)]


def config_folder() -> Path:
    """Folder of the training configs."""
    spec = importlib.util.find_spec(CONFIG_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"{CONFIG_PACKAGE}: not found, expected the package of training configs")
    return Path(next(iter(spec.submodule_search_locations)))


def _fingerprint(stage: Stage, earlier: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps([list(stage.command), [earlier[name] for name in stage.after]]).encode())
    for source in stage.sources:
        for path in _source_files(source):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _source_files(name: str) -> list[Path]:
    spec = importlib.util.find_spec(f"fos_jax.{name}")
    if spec is None or spec.origin is None:
        raise ValueError(f"source: fos_jax.{name} is no module, expected a module or package below fos_jax")
    if spec.submodule_search_locations:
        return sorted(file for folder in spec.submodule_search_locations for file in Path(folder).rglob("*.py"))
    return [Path(spec.origin)]


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
