"""The record of a run in its work directory: config, run metadata, metrics."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import jax

from fos_jax.errors import InputError
from fos_jax.files import write_whole
from fos_jax.run_metadata import run_metadata


def is_writer() -> bool:
    """Whether this process writes what all hosts share: the first one does."""
    return jax.process_index() == 0


def write_config(workdir: Path, config: Mapping[str, Any]) -> None:
    """Writes `config.json`, or checks that the one there is the same: a run is resumed with the config it began with.

    Raises:
      InputError: the work directory belongs to a run with another config (the first field that differs is named), or
        cannot be written.
    """
    path = workdir / "config.json"
    resolved = json.loads(json.dumps(config))
    if path.exists():
        try:
            earlier = json.loads(path.read_text("utf-8"))
        except ValueError:
            raise InputError(f"{path}: not JSON, expected the config of an earlier run") from None
        before, now = _flat(earlier), _flat(resolved)
        for name in sorted(set(before) | set(now)):
            if before.get(name) != now.get(name):
                raise InputError(
                    f"workdir: {workdir} holds a run with {name} = {before.get(name)!r}, expected {now.get(name)!r} "
                    "(take another --workdir or the same config)"
                )
        return
    if is_writer():
        write_whole(path, json.dumps(resolved, indent=1) + "\n")


def write_metadata(workdir: Path, **more: Any) -> None:
    """Writes `run.json`: commit, versions and hardware of the latest start, and what else is given."""
    if is_writer():
        write_whole(workdir / "run.json", json.dumps({**run_metadata(), **more}, indent=1) + "\n")


class MetricsLog:
    """`metrics.jsonl` and `tensorboard/`: one line per logged step, none twice however often a run is resumed.

    Only the first process of several writes.

    Args:
      workdir: of the run.
      from_step: steps done; what earlier starts logged beyond it is dropped, since it will be logged again.
    """

    def __init__(self, workdir: Path, *, from_step: int):
        from tensorboardX import SummaryWriter

        self._path = workdir / "metrics.jsonl"
        self._closing = contextlib.ExitStack()
        if not is_writer():
            return
        kept = [line for line in _lines(self._path) if line["step"] <= from_step]
        write_whole(self._path, "".join(json.dumps(line) + "\n" for line in kept))
        self._file = self._closing.enter_context(self._path.open("a", encoding="utf-8"))
        self._board = self._closing.enter_context(
            SummaryWriter(str(workdir / "tensorboard"), purge_step=from_step + 1, flush_secs=10)
        )

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # what `write` could not flush, it has reported
            self._closing.close()

    def write(self, step: int, kind: str, metrics: Mapping[str, float]) -> None:
        """Logs metrics after `step` steps; `kind` is "train" or "validation"."""
        if not is_writer():
            return
        try:
            self._file.write(json.dumps({"step": step, "kind": kind, **metrics}) + "\n")
            self._file.flush()
        except OSError as error:
            raise InputError(f"workdir: {self._path} cannot be written ({error})") from None
        for name, value in metrics.items():
            self._board.add_scalar(f"{kind}/{name}", value, step)


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    lines = []
    for text in path.read_text("utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
            line["step"] = int(line["step"])
        except (ValueError, KeyError, TypeError):
            continue  # the last line of a process that was killed
        lines.append(line)
    return lines


def _flat(tree: Any, prefix: str = "config") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {prefix: tree}
    return {k: v for name, child in tree.items() for k, v in _flat(child, f"{prefix}.{name}").items()}
