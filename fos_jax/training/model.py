"""Applying a linen module in training and in evaluation, with or without batch statistics."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from tqdm import tqdm

from fos_jax.data.batches import evaluation_batches


def apply_for_training(module: nn.Module, params: Any, batch_stats: Any, *inputs: jax.Array) -> tuple[Any, Any]:
    """Output of `module(*inputs, train=True)` and its new batch statistics (empty where it has none)."""
    if not batch_stats:
        return module.apply({"params": params}, *inputs, train=True), batch_stats
    output, new = module.apply(
        {"params": params, "batch_stats": batch_stats}, *inputs, train=True, mutable=["batch_stats"]
    )
    return output, new["batch_stats"]


class Encoder:
    """An encoder over many rows, compiled once for one batch size.

    Args:
      module: linen module whose output is a named tuple of arrays [B, ...].
      inputs: names of its arguments among the arrays, in order.
      batch_size: rows at a time; the last batch is padded and the padding cut off again.
    """

    def __init__(self, module: nn.Module, inputs: tuple[str, ...], *, batch_size: int = 256):
        self._apply = jax.jit(lambda variables, *arrays: tuple(module.apply(variables, *arrays)))
        self._inputs = inputs
        self._batch_size = batch_size

    def __call__(
        self, variables: Mapping[str, Any], arrays: Mapping[str, np.ndarray], *, description: str = ""
    ) -> tuple[np.ndarray, ...]:
        """Outputs of all rows, float32 arrays [n, ...]; a progress bar where there is a description."""
        variables = jax.device_put(variables)
        rows = len(arrays[self._inputs[0]])
        parts = []
        batches = evaluation_batches(
            {name: arrays[name] for name in self._inputs}, batch_size=min(self._batch_size, rows)
        )
        for batch in tqdm(
            batches, total=-(-rows // self._batch_size), desc=description, unit="batch", disable=not description
        ):
            is_row = batch["weight"] > 0
            parts.append([np.asarray(x)[is_row] for x in self._apply(variables, *(batch[n] for n in self._inputs))])
        return tuple(np.concatenate(column) for column in zip(*parts, strict=True))
