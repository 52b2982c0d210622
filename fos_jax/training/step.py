"""The training step: gradient of a loss, update, moving average. Pure; it runs under jit, a mesh or pmap."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import flax.struct
import jax
import jax.numpy as jnp
import optax

Gather = Callable[[Any], Any]
Metrics = dict[str, jax.Array]


@flax.struct.dataclass
class TrainState:
    """State between two steps.

    Attributes:
      step: int32 scalar, steps done.
      params: trained arrays.
      batch_stats: running statistics of batch normalisation; empty where a model has none.
      opt_state: of the optimiser.
      ema_params: exponential moving average of `params`, or None where it is not wanted.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    ema_params: Any


def create_state(
    variables: Mapping[str, Any], optimizer: optax.GradientTransformation, *, has_ema: bool = False
) -> TrainState:
    """State before the first step, from a model's variables (`params` and, where there are any, `batch_stats`)."""
    params = variables["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=optimizer.init(params),
        ema_params=jax.tree.map(jnp.copy, params) if has_ema else None,
    )


def state_variables(state: TrainState) -> dict[str, Any]:
    """Variables for evaluation: the averaged parameters where they are kept, else the plain ones."""
    params = state.params if state.ema_params is None else state.ema_params
    return {"params": params, "batch_stats": state.batch_stats} if state.batch_stats else {"params": params}


def example_keys(seed: int, step: jax.Array, index: jax.Array) -> jax.Array:
    """One random key per row of a batch, from seed, step and row number only.

    Keys do not depend on how rows are spread over devices, nor on what a process did before the step: a resumed run
    draws what an uninterrupted one draws.

    Args:
      seed: of the run.
      step: int32 scalar.
      index: int32 [B], row numbers in the data.

    Returns:
      typed keys [B].

    Source: decision 13; JAX documentation on fold_in.
    """
    step_key = jax.random.fold_in(jax.random.key(seed), step)
    return jax.vmap(lambda row: jax.random.fold_in(step_key, row))(index)


class LossFunction(Protocol):
    """Loss of one batch.

    `gather` turns an array of rows on one device into the rows of all devices. A loss gathers model outputs and
    labels and then reduces over the whole batch, so that it is the same number however rows are spread, also where
    rows of other devices are its negatives.

    Args:
      params, batch_stats: of the model.
      batch: arrays [B, ...] of this device, with `weight` float32 [B].
      keys: random keys [B].
      constants: arrays that do not change during a run.
      gather: as above.

    Returns:
      (scalar loss, (metrics: name -> scalar, new batch_stats)).
    """

    def __call__(
        self,
        params: Any,
        batch_stats: Any,
        batch: Mapping[str, jax.Array],
        keys: jax.Array,
        constants: Any,
        gather: Gather,
    ) -> tuple[jax.Array, tuple[Metrics, Any]]: ...


TrainStep = Callable[..., tuple[TrainState, Metrics]]


def make_train_step(
    loss_function: LossFunction, optimizer: optax.GradientTransformation, *, seed: int, ema_decay: float = 0.0
) -> TrainStep:
    """Builds `step(state, batch, constants, *, axis_name=None) -> (state, metrics)`.

    With `axis_name` the step runs once per device inside pmap, each on its rows. Since every device then computes the
    same gathered loss, the mean over devices of their gradients is the gradient of that loss: the transpose of a
    gather adds up what all devices send back.

    Args:
      loss_function: see `LossFunction`.
      optimizer: takes gradients to updates.
      seed: random keys are folded from it, the step and the row numbers.
      ema_decay: of `ema_params`, where the state has them.

    Returns:
      The step; its metrics hold the loss's own, `loss` and `gradient_norm`.

    Source: JAX documentation on collectives; decision 14.
    """

    def step(
        state: TrainState, batch: Mapping[str, jax.Array], constants: Any, *, axis_name: str | None = None
    ) -> tuple[TrainState, Metrics]:
        def gather(tree: Any) -> Any:
            if axis_name is None:
                return tree
            return jax.tree.map(lambda x: jax.lax.all_gather(x, axis_name, tiled=True), tree)

        keys = example_keys(seed, state.step, batch["index"])
        gradient_of = jax.value_and_grad(loss_function, has_aux=True)
        (loss, (metrics, batch_stats)), gradient = gradient_of(
            state.params, state.batch_stats, batch, keys, constants, gather
        )
        if axis_name is not None:
            gradient, batch_stats = jax.lax.pmean((gradient, batch_stats), axis_name)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema_params = state.ema_params
        if ema_params is not None:
            ema_params = optax.incremental_update(params, ema_params, 1.0 - ema_decay)
        new = TrainState(
            step=state.step + 1, params=params, batch_stats=batch_stats, opt_state=opt_state, ema_params=ema_params
        )
        return new, {**metrics, "loss": loss, "gradient_norm": optax.tree.norm(gradient)}

    return step
