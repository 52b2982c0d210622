"""Operations of a function, counted whatever it runs on."""

from collections.abc import Callable
from typing import Any

import jax


def count_gflop(function: Callable[..., Any], *arguments: Any) -> float | None:
    """Operations of one call in units of 1e9, as XLA counts them for a CPU before it optimises; None where it does not.

    For a GPU it counts none, so that nothing is asked of the device that is there.

    Args:
      function: of arrays, traceable.
      arguments: trees of arrays; only shapes and dtypes are read.

    Source: documentation of `jax.stages.Lowered.cost_analysis`.
    """
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), arguments)
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        analysis = jax.jit(function).lower(*shapes).cost_analysis()
    flops = (analysis or {}).get("flops")
    return None if flops is None else flops / 1e9
