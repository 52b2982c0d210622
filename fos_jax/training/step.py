"""The training step and its optimiser: gradient of a loss, update, moving average.

Pure; it runs under jit, a mesh or pmap.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
import optax.contrib
from flax import traverse_util

from fos_jax.errors import InputError

METHODS = ("adamw", "muon")
_ADAMW_RMS = 0.2  # root mean square of AdamW's updates at rate 1, as measured by Liu et al.

Paths = Collection[tuple[str, ...]]
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
    variables: Mapping[str, Any],
    optimizer: optax.GradientTransformation,
    *,
    has_ema: bool = False,
    frozen: Paths = frozenset(),
) -> TrainState:
    """State before the first step, from a model's variables (`params` and, where there are any, `batch_stats`).

    The optimiser keeps nothing about arrays whose path in `params` is one of `frozen`.
    """
    params = variables["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=optimizer.init(split(params, frozen)[0]),
        ema_params=jax.tree.map(jnp.copy, params) if has_ema else None,
    )


def state_variables(state: TrainState) -> dict[str, Any]:
    """Variables for evaluation: the averaged parameters where they are kept, else the plain ones."""
    params = state.params if state.ema_params is None else state.ema_params
    return {"params": params, "batch_stats": state.batch_stats} if state.batch_stats else {"params": params}


def apply_for_training(module: nn.Module, params: Any, batch_stats: Any, *inputs: jax.Array) -> tuple[Any, Any]:
    """Output of `module(*inputs, train=True)` and its new batch statistics (empty where it has none)."""
    if not batch_stats:
        return module.apply({"params": params}, *inputs, train=True), batch_stats
    output, new = module.apply(
        {"params": params, "batch_stats": batch_stats}, *inputs, train=True, mutable=["batch_stats"]
    )
    return output, new["batch_stats"]


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


def split(params: Any, frozen: Paths) -> tuple[Any, Any]:
    """Nested dicts of what is trained, and of the arrays whose path is one of `frozen`; see `joined`."""
    if not frozen:
        return params, {}
    flat = traverse_util.flatten_dict(params, keep_empty_nodes=True)
    trained, kept = ({p: x for p, x in flat.items() if (p in frozen) == is_kept} for is_kept in (False, True))
    return traverse_util.unflatten_dict(trained), traverse_util.unflatten_dict(kept)


def joined(trained: Any, frozen: Any) -> Any:
    """The nested dict that `split` took apart."""
    if not frozen:
        return trained
    parts = (traverse_util.flatten_dict(part, keep_empty_nodes=True) for part in (trained, frozen))
    return traverse_util.unflatten_dict({path: x for part in parts for path, x in part.items()})


def make_train_step(
    loss_function: LossFunction,
    optimizer: optax.GradientTransformation,
    *,
    seed: int,
    ema_decay: float = 0.0,
    frozen: Paths = frozenset(),
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
      frozen: paths of parameters that stay as they are, bit by bit; no gradient of them is computed.

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
        trained, kept = split(state.params, frozen)

        def loss_of(trained: Any) -> tuple[jax.Array, tuple[Metrics, Any]]:
            return loss_function(joined(trained, kept), state.batch_stats, batch, keys, constants, gather)

        (loss, (metrics, batch_stats)), gradient = jax.value_and_grad(loss_of, has_aux=True)(trained)
        if axis_name is not None:
            gradient, batch_stats = jax.lax.pmean((gradient, batch_stats), axis_name)
        updates, opt_state = optimizer.update(gradient, state.opt_state, trained)
        trained, ema_params = optax.apply_updates(trained, updates), state.ema_params
        if ema_params is not None:
            average, _ = split(ema_params, frozen)
            ema_params = joined(optax.incremental_update(trained, average, 1.0 - ema_decay), kept)
        new = TrainState(
            step=state.step + 1,
            params=joined(trained, kept),
            batch_stats=batch_stats,
            opt_state=opt_state,
            ema_params=ema_params,
        )
        return new, {**metrics, "loss": loss, "gradient_norm": optax.tree.norm(gradient)}

    return step


def make_optimizer(
    *,
    learning_rate: float,
    num_steps: int,
    warmup_steps: int,
    weight_decay: float = 0.05,
    clip_norm: float = 1.0,
    b2: float = 0.99,
    method: str = "adamw",
) -> optax.GradientTransformation:
    """AdamW or Muon, with linear warm-up, cosine decay to zero and clipping of the gradient's norm.

    A run shorter than twice the warm-up warms up for half of it. Weight decay spares vectors and scalars (biases,
    normalisation), as is usual. Muon makes the update of every kernel, a convolution's as the matrix from its window to
    its outputs, orthogonal and scales it to the size that AdamW's have, so that rates can be compared; all other
    parameters are AdamW's, with Nesterov's momentum.

    Args:
      learning_rate: at its highest. num_steps: of the schedule. warmup_steps: of it.
      weight_decay: of matrices. clip_norm: largest norm of a gradient. b2: of AdamW's second moments.
      method: "adamw" or "muon".

    Raises:
      InputError: an unknown method.

    Source: Loshchilov & Hutter, ICLR 2019 (AdamW); Jordan et al., 2024, and Liu et al., arXiv 2502.16982 (Muon and its
    scale); decision 13 (schedule).
    """
    if method not in METHODS:
        raise InputError(f"config: optimizer.method: {method!r}, expected one of {', '.join(METHODS)}")
    warmup_steps = min(warmup_steps, num_steps // 2)
    schedule = optax.warmup_cosine_decay_schedule(0.0, learning_rate, warmup_steps, max(num_steps, 1))

    def is_decayed(params: Any) -> Any:
        return jax.tree.map(lambda x: x.ndim > 1, params)

    if method == "adamw":
        update = optax.adamw(schedule, b2=b2, weight_decay=weight_decay, mask=is_decayed)
    else:
        update = optax.contrib.muon(
            schedule,
            weight_decay=weight_decay,
            weight_decay_mask=is_decayed,
            adam_b2=b2,
            adam_weight_decay=weight_decay,
            consistent_rms=_ADAMW_RMS,
            muon_weight_dimension_numbers=lambda params: jax.tree_util.tree_map_with_path(_matrix_axes, params),
        )
    return optax.chain(optax.clip_by_global_norm(clip_norm), update)


def _matrix_axes(path: Any, x: jax.Array) -> optax.contrib.MuonDimensionNumbers | None:
    """Kernels are matrices from all axes but the last to the last; embeddings, prototypes and vectors are none."""
    if path[-1].key != "kernel" or x.ndim < 2:
        return None
    return optax.contrib.MuonDimensionNumbers(tuple(range(x.ndim - 1)), (x.ndim - 1,))
