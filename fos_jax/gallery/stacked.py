"""Arrays end to end as one array, gathered as far as it is asked for."""

import bisect
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin


class Stacked(NDArrayOperatorsMixin):
    """Arrays end to end as one array: what is asked for is gathered, the whole only when it is used as an array."""

    def __init__(self, parts: Sequence[Any], shape: tuple[int, ...] = (), change: Callable[..., Any] = np.asarray):
        """Arrays of one width; `shape` is the rows' where there are no parts, `change` is done to what is gathered."""
        self._parts, self._change, self._width = parts, change, shape
        self._starts = list(itertools.accumulate(map(len, parts), initial=0))

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def shape(self) -> tuple[int, ...]:
        """As of the whole array."""
        return np.asarray(self[:0]).shape if not len(self) else (len(self), *np.shape(self[0]))

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, int | np.integer):
            place = range(len(self))[key]
            part = bisect.bisect_right(self._starts, place) - 1
            return self._change(self._parts[part][place - self._starts[part]])
        if isinstance(key, slice):
            key = np.arange(*key.indices(len(self)))
        places = np.asarray(key, None if len(key) else np.int64)
        places = np.flatnonzero(places) if places.dtype == bool else places
        if len(self._parts) == 1:
            return self._change(self._parts[0][places])
        of = np.searchsorted(self._starts, places, side="right") - 1
        out: np.ndarray | None = None
        for number, part in enumerate(self._parts):
            is_own = of == number
            values = np.asarray(part[places[is_own] - self._starts[number]])
            out = np.empty((len(places), *values.shape[1:]), values.dtype) if out is None else out
            out[is_own] = values
        return self._change(np.empty((0, *self._width), np.float32) if out is None else out)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        parts = [np.asarray(part) for part in self._parts] or [np.empty((0, *self._width), np.float32)]
        return np.asarray(self._change(parts[0] if len(parts) == 1 else np.concatenate(parts)), dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return getattr(ufunc, method)(*(np.asarray(x) if isinstance(x, Stacked) else x for x in inputs), **options)
