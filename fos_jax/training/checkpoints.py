"""Checkpoints of a run: state and data iterator together, saved in the background, the best and the latest kept."""

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from fos_jax.errors import InputError
from fos_jax.training.step import TrainState


@dataclasses.dataclass(frozen=True)
class Restored:
    """step: steps done. state: numpy pytree. iterator: the data iterator's state. score: of validation, or None."""

    step: int
    state: TrainState
    iterator: dict[str, Any]
    score: float | None


class Checkpoints:
    """`<workdir>/checkpoints`: the two latest and the best by validation score.

    A save is written aside and renamed when complete, so a process that is killed leaves the earlier ones whole; what
    it left half-written is removed when the directory is next opened. Use as a context manager: leaving it waits for
    the last save.

    Args:
      directory: made if missing.
      is_async: write in the background while training goes on.

    Source: Orbax documentation (CheckpointManager, preservation policies).
    """

    def __init__(self, directory: str | Path, *, is_async: bool = True):
        self.directory = Path(directory).absolute()
        policy = checkpoint_managers.AnyPreservationPolicy(
            [
                checkpoint_managers.LatestN(2),
                checkpoint_managers.BestN(get_metric_fn=_score, n=1, keep_checkpoints_without_metrics=False),
            ]
        )
        for left in self.directory.glob("*.orbax-checkpoint-tmp*"):  # half-written by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        try:
            self._manager = ocp.CheckpointManager(
                self.directory,
                options=ocp.CheckpointManagerOptions(
                    preservation_policy=policy,
                    best_fn=_score,
                    enable_async_checkpointing=is_async,
                ),
                item_names=("state", "iterator"),
            )
        except OSError as error:
            raise InputError(f"workdir: {self.directory} cannot be opened ({_line(error)})") from None

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._manager.wait_until_finished()
            self._manager.close()
        except Exception as failed:
            if error is None:
                raise self._cannot_write(failed) from None

    def save(self, step: int, state: TrainState, iterator: Mapping[str, Any], *, score: float | None) -> None:
        """Saves after `step` steps. `state` holds arrays that nothing else writes to; `score`: higher is better.

        Raises:
          InputError: this save, or an earlier one in the background, could not be written.
        """
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(_flatten(state)), iterator=ocp.args.JsonSave(dict(iterator))
        )
        metrics = None if score is None else {"score": float(score)}
        try:
            self._manager.save(step, args=items, metrics=metrics)
        except Exception as error:  # Orbax and TensorStore raise what they like for a full disk
            raise self._cannot_write(error) from None

    def latest_step(self) -> int | None:
        """Steps done at the latest complete checkpoint; None where there is none."""
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """Steps done at the best validation score; None where nothing was validated."""
        self._manager.wait_until_finished()
        return self._manager.best_step()

    def restore(self, step: int, like: TrainState) -> Restored:
        """Reads the checkpoint of `step`.

        Args:
          like: a state of the same structure, shapes and dtypes.

        Raises:
          InputError: it holds other arrays than `like`, or cannot be read.
        """
        try:
            items = self._manager.restore(
                step, args=ocp.args.Composite(state=ocp.args.StandardRestore(), iterator=ocp.args.JsonRestore())
            )
            metrics = self._manager.metrics(step)
        except Exception as error:
            raise InputError(
                f"workdir: checkpoint {self.directory / str(step)} is unreadable ({_line(error)})"
            ) from None
        state = _unflatten(dict(items.state), like, where=f"workdir: checkpoint {self.directory / str(step)}")
        score = None if not metrics else float(metrics["score"])
        return Restored(step=step, state=state, iterator=dict(items.iterator), score=score)

    def _cannot_write(self, error: Exception) -> InputError:
        return InputError(
            f"workdir: a checkpoint in {self.directory} cannot be written ({_line(error)}); last complete one: "
            f"{self._manager.latest_step()}"
        )


def _flatten(state: TrainState) -> dict[str, np.ndarray]:
    """Path -> array. By name, since Orbax's own templates pad or cut arrays of another shape silently."""
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(state)}


def _unflatten(arrays: Mapping[str, np.ndarray], like: TrainState, *, where: str) -> TrainState:
    expected = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(like)}
    for name in sorted(set(expected) ^ set(arrays)):
        is_missing = name in expected
        raise InputError(f"{where}: array {name} is {'missing' if is_missing else 'not one of this run'}")
    for name, leaf in expected.items():
        if (arrays[name].shape, arrays[name].dtype) != (leaf.shape, leaf.dtype):
            came = f"{arrays[name].dtype}{list(arrays[name].shape)}"
            raise InputError(f"{where}: array {name} is {came}, expected {leaf.dtype}{list(leaf.shape)}")
    return jax.tree.unflatten(jax.tree.structure(like), [np.asarray(arrays[name]) for name in expected])


def _score(metrics: Mapping[str, float]) -> float:
    return metrics["score"]


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
