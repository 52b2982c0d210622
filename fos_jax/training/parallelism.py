"""Running one pure step on all devices: jit over a mesh (default) or pmap, with the same numbers."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from fos_jax.training.step import TrainState, TrainStep

AXIS = "batch"
MODES = ("jit", "pmap")


@dataclasses.dataclass(frozen=True)
class Parallel:
    """A step spread over devices.

    Attributes:
      step: (device state, host batch) -> (device state, metrics on device). It takes the state's memory: use only the
        returned state afterwards. Batches of any length are padded to the device count with rows of weight 0.
      put: host pytree -> device state.
      get: device state -> pytree of numpy arrays that own their memory.
      num_devices: over which a batch is spread, of all hosts.
    """

    step: Callable[[TrainState, Mapping[str, np.ndarray]], tuple[TrainState, dict[str, jax.Array]]]
    put: Callable[[TrainState], TrainState]
    get: Callable[[TrainState], TrainState]
    num_devices: int


def parallelise(
    step: TrainStep, constants: Any, *, mode: str = "jit", devices: Sequence[jax.Device] | None = None
) -> Parallel:
    """Spreads a pure step over devices.

    Args:
      step: from `make_train_step`.
      constants: pytree of arrays every step reads; copied to each device once.
      mode: "jit" (a mesh with one axis, rows sharded, state replicated) or "pmap".
      devices: all devices of all hosts by default.

    Raises:
      ValueError: unknown mode.

    Source: JAX documentation (sharded computation; pmap).
    """
    devices = list(devices if devices is not None else jax.devices())
    if mode == "jit":
        return _over_mesh(step, constants, devices)
    if mode == "pmap":
        return _over_pmap(step, constants, devices)
    raise ValueError(f"parallelism is {mode!r}, expected one of {', '.join(MODES)}")


def pad_batch(batch: Mapping[str, np.ndarray], multiple: int) -> dict[str, np.ndarray]:
    """Fills a batch up to a multiple of the device count with copies of its first row at weight 0."""
    missing = -len(batch["weight"]) % multiple
    if not missing:
        return dict(batch)
    padded = {name: np.concatenate([rows, np.repeat(rows[:1], missing, axis=0)]) for name, rows in batch.items()}
    padded["weight"][-missing:] = 0.0
    return padded


def _own(tree: Any) -> Any:
    # On a CPU a device array and its numpy view share memory, which the next step takes over: copy.
    return jax.tree.map(lambda x: np.array(x, copy=True), tree)


def _over_mesh(step: TrainStep, constants: Any, devices: list[jax.Device]) -> Parallel:
    mesh = Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))
    replicated, rows = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec(AXIS))
    compiled = jax.jit(
        step,
        in_shardings=(replicated, rows, replicated),
        out_shardings=(replicated, replicated),
        donate_argnums=(0,),
    )
    on_devices = jax.device_put(constants, replicated)

    def run(state: TrainState, batch: Mapping[str, np.ndarray]) -> tuple[TrainState, dict[str, jax.Array]]:
        return compiled(state, jax.device_put(pad_batch(batch, len(devices)), rows), on_devices)

    return Parallel(run, lambda state: jax.device_put(_own(state), replicated), _own, len(devices))


def _over_pmap(step: TrainStep, constants: Any, devices: list[jax.Device]) -> Parallel:
    local = [d for d in devices if d.process_index == jax.process_index()]
    first = devices.index(local[0])
    mapped = jax.pmap(
        functools.partial(step, axis_name=AXIS), axis_name=AXIS, devices=devices, donate_argnums=(0,), in_axes=(0, 0, 0)
    )

    def replicate(tree: Any) -> Any:
        stacked = jax.tree.map(lambda x: np.broadcast_to(np.asarray(x), (len(local), *np.shape(x))), tree)
        return jax.device_put(stacked, _local_sharding(local))

    on_devices = replicate(constants)

    def run(state: TrainState, batch: Mapping[str, np.ndarray]) -> tuple[TrainState, dict[str, jax.Array]]:
        padded = pad_batch(batch, len(devices))

        def split(x: np.ndarray) -> np.ndarray:
            by_device = x.reshape(len(devices), -1, *x.shape[1:])  # [devices, B / devices, ...]
            return by_device[first : first + len(local)]

        state, metrics = mapped(state, jax.tree.map(split, padded), on_devices)
        return state, jax.tree.map(lambda x: x.addressable_shards[0].data[0], metrics)

    def get(state: TrainState) -> TrainState:
        return jax.tree.map(lambda x: np.array(x.addressable_shards[0].data[0], copy=True), state)

    return Parallel(run, replicate, get, len(devices))


def _local_sharding(local: list[jax.Device]) -> NamedSharding:
    mesh = Mesh(np.array(local), (AXIS,), axis_types=(AxisType.Auto,))
    return NamedSharding(mesh, PartitionSpec(AXIS))
