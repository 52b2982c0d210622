"""Optimisers: AdamW and Muon, with warm-up, cosine decay and clipping."""

from typing import Any

import jax
import optax
import optax.contrib

from fos_jax.errors import InputError

METHODS = ("adamw", "muon")
_ADAMW_RMS = 0.2  # root mean square of AdamW's updates at rate 1, as measured by Liu et al.


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
