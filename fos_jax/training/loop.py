"""The training loop: teacher, student and rivals differ only in their `Task`."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from tqdm import tqdm

from fos_jax.data.batches import Rows, training_batches
from fos_jax.errors import InputError
from fos_jax.training import record
from fos_jax.training.checkpoints import Checkpoints
from fos_jax.training.parallelism import AXIS, Parallel, parallelise
from fos_jax.training.step import (
    LossFunction,
    Paths,
    TrainState,
    create_state,
    make_optimizer,
    make_train_step,
    state_variables,
)


class NotFiniteError(RuntimeError):
    """The loss or its gradient became NaN or infinite; the message names step, rows and last good checkpoint."""


@dataclasses.dataclass(frozen=True)
class Task:
    """What is trained.

    Attributes:
      variables: initial `params` and, where there are any, `batch_stats`.
      loss_function: of one batch.
      constants: arrays every step reads.
      arrays: training rows, name -> array [n, ...].
      ids: str [n], names of the rows, for messages.
      validate: variables -> metrics on the validation split; "score" (higher is better) selects the best checkpoint.
      finish: (variables, validation metrics) -> writes the bundle.
      inputs: name -> fingerprint of what the run reads besides its config; a run is resumed on the same only.
      frozen: paths of the `params` that are not trained.
    """

    variables: Mapping[str, Any]
    loss_function: LossFunction
    constants: Any
    arrays: Mapping[str, Rows]
    ids: Sequence[str] | np.ndarray
    validate: Callable[[dict[str, Any]], dict[str, float]]
    finish: Callable[[dict[str, Any], dict[str, float]], None]
    inputs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    frozen: Paths = frozenset()


@dataclasses.dataclass(frozen=True)
class Runner:
    """`train` with the options of a program; a rival that trains in stages calls it once per stage.

    Attributes:
      parallelism: "jit" or "pmap".
      progress: whether to show progress bars.
    """

    parallelism: str = "jit"
    progress: bool = True

    @property
    def axis_name(self) -> str | None:
        """The axis over which models average batch statistics; None where the whole batch is in one program."""
        return AXIS if self.parallelism == "pmap" else None

    def __call__(self, task: Task, config: Any, workdir: str | Path) -> dict[str, Any]:
        return train(task, config, workdir, parallelism=self.parallelism, progress=self.progress)


def train(
    task: Task,
    config: Any,
    workdir: str | Path,
    *,
    parallelism: str = "jit",
    devices: Sequence[jax.Device] | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Trains, or goes on where an earlier start of the same command stopped, to the same parameters bit by bit.

    Args:
      task: what is trained.
      config: an ml_collections ConfigDict with `seed`, `optimizer` (arguments of `make_optimizer`) and `training`
        (batch_size, num_steps, log_every_steps, validate_every_steps, ema_decay, keep: "best" or "last").
      workdir: gets config.json, run.json, metrics.jsonl, tensorboard/ and checkpoints/.
      parallelism: "jit" or "pmap".
      devices: all by default.
      progress: show a progress bar.

    Returns:
      The variables handed to `task.finish`.

    Raises:
      NotFiniteError: the loss or its gradient became NaN or infinite.
      InputError: the work directory cannot be written, or holds another run.

    Source: decision 13.
    """
    workdir = Path(workdir)
    settings = config.training
    record.write_config(workdir, {**config.to_dict(), "inputs": dict(task.inputs)})
    record.write_metadata(workdir, parallelism=parallelism)
    optimizer = make_optimizer(num_steps=settings.num_steps, **config.optimizer)
    step = make_train_step(
        task.loss_function, optimizer, seed=config.seed, ema_decay=settings.ema_decay, frozen=task.frozen
    )
    parallel = parallelise(step, task.constants, mode=parallelism, devices=devices)
    initial = create_state(task.variables, optimizer, has_ema=settings.ema_decay > 0, frozen=task.frozen)
    batches = training_batches(task.arrays, batch_size=settings.batch_size, seed=config.seed)
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        state, start = initial, 0
        if (latest := checkpoints.latest_step()) is not None:
            restored = checkpoints.restore(latest, initial)
            state, start = restored.state, restored.step
            batches.set_state(restored.iterator)
            logging.info("%s: going on after step %d", workdir, start)
        with record.MetricsLog(workdir, from_step=start) as log:
            _run(task, settings, parallel, parallel.put(state), start, batches, checkpoints, log, progress)
        chosen = checkpoints.best_step() if settings.keep == "best" else checkpoints.latest_step()
        if chosen is None:
            raise InputError(f"config: training.num_steps is {settings.num_steps}, expected at least 1")
        restored = checkpoints.restore(chosen, initial)
    variables = state_variables(restored.state)
    if record.is_writer():
        task.finish(variables, {**task.validate(variables), "step": restored.step})
    return variables


def _run(
    task: Task,
    settings: Any,
    parallel: Parallel,
    state: TrainState,
    start: int,
    batches: Any,
    checkpoints: Checkpoints,
    log: record.MetricsLog,
    progress: bool,
) -> None:
    pending: list[tuple[int, np.ndarray, dict[str, jax.Array]]] = []  # steps whose metrics are still on the device
    logged_s = time.perf_counter()
    bar = tqdm(total=settings.num_steps, initial=start, unit="step", disable=not progress)
    with bar:
        for done in range(start + 1, settings.num_steps + 1):
            batch = next(batches)
            state, metrics = parallel.step(state, batch)
            pending.append((done, batch["index"], metrics))
            is_last = done == settings.num_steps
            is_validation = is_last or done % settings.validate_every_steps == 0
            if is_last or is_validation or done % settings.log_every_steps == 0:
                means = _fetch(pending, task.ids, checkpoints)
                seconds = time.perf_counter() - logged_s
                means["rows_per_s"] = settings.batch_size * len(pending) / seconds
                log.write(done, "train", means)
                bar.update(len(pending))
                bar.set_postfix(loss=f"{means['loss']:.3f}", refresh=False)
                pending, logged_s = [], time.perf_counter()
            if is_validation:
                host = parallel.get(state)
                validation = task.validate(state_variables(host))
                log.write(done, "validation", validation)
                logging.info("step %d: %s", done, "  ".join(f"{k} {v:.4f}" for k, v in validation.items()))
                checkpoints.save(done, host, batches.get_state(), score=validation["score"])
                logged_s = time.perf_counter()


def _fetch(
    pending: list[tuple[int, np.ndarray, dict[str, jax.Array]]],
    ids: Sequence[str] | np.ndarray,
    checkpoints: Checkpoints,
) -> dict[str, float]:
    """Means of the metrics since the last fetch; waits for the device only here."""
    values = jax.device_get([metrics for _, _, metrics in pending])
    for (step, index, _), metrics in zip(pending, values, strict=True):
        if not (np.isfinite(metrics["loss"]) and np.isfinite(metrics["gradient_norm"])):
            rows = ", ".join(str(ids[i]) for i in index)
            raise NotFiniteError(
                f"step {step}: loss is {metrics['loss']}, gradient norm {metrics['gradient_norm']}; rows of the batch: "
                f"{rows}; last good checkpoint: {_last_good(checkpoints)}"
            )
    return {name: float(np.mean([metrics[name] for metrics in values])) for name in values[0]}


def _last_good(checkpoints: Checkpoints) -> str:
    step = checkpoints.latest_step()
    return "none" if step is None else str(checkpoints.directory / str(step))
