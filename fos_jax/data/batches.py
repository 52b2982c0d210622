"""Batches of rows for training: a Grain iterator whose state saves and restores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import grain

Batch = dict[str, np.ndarray]
_ENDLESS_EPOCHS = 1 << 31  # Grain's own `repeat()` overflows for a single row in batches of one


class RowsOf:
    """`array[row]` as an array of its own, read only where a batch asks: `RowsOf(images, rows)[index]`.

    Lets a query's batch carry its own foreground's image without a copy of all of them.
    """

    def __init__(self, array: np.ndarray, rows: np.ndarray):
        self._array, self._rows = array, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: np.ndarray) -> np.ndarray:
        return self._array[self._rows[index]]


Rows = np.ndarray | RowsOf


def training_batches(
    arrays: Mapping[str, Rows], *, batch_size: int, seed: int, num_threads: int = 2, prefetch: int = 4
) -> grain.DatasetIterator:
    """Endless iterator of shuffled batches; every epoch is a new permutation of all rows.

    `get_state()` / `set_state()` of the result go on at exactly the next batch, however many were read ahead.

    Args:
      arrays: name -> array [n, ...], aligned by row; memory-mapped arrays are read as batches need them.
      batch_size: rows per batch; a batch may reach over an epoch's end, none is short.
      seed: of the permutations.
      num_threads: threads that gather rows ahead of the training step.
      prefetch: batches gathered ahead.

    Returns:
      Iterator of dicts: the arrays' rows [batch_size, ...], `index` int32 [batch_size] (row numbers) and `weight`
      float32 [batch_size] (ones).

    Raises:
      ValueError: no rows, arrays of unequal length, or names that are taken.

    Source: Grain documentation (MapDataset, checkpointing of iterators).
    """
    import grain

    n = _check(arrays)
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}, expected at least 1")

    def gather(index: np.ndarray) -> Batch:
        return _rows(arrays, index, np.ones(len(index), np.float32))

    rows = grain.MapDataset.source(range(n)).shuffle(seed=seed).repeat(_ENDLESS_EPOCHS).batch(batch_size).map(gather)
    return iter(rows.to_iter_dataset(grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=prefetch)))


def _check(arrays: Mapping[str, Rows]) -> int:
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(f"arrays have lengths {lengths}, expected one length of at least 1")
    if taken := {"index", "weight"} & set(arrays):
        raise ValueError(f"arrays hold {sorted(taken)}, which batches add themselves")
    return next(iter(lengths.values()))


def _rows(arrays: Mapping[str, Rows], index: np.ndarray, weight: np.ndarray) -> Batch:
    batch = {name: np.asarray(array[index]) for name, array in arrays.items()}
    return {**batch, "index": index.astype(np.int32), "weight": weight}
