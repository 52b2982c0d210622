"""Metadata of foregrounds by column: memory-mapped Arrow tables, read a column or a row at a time."""

import functools
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fos_jax.errors import InputError
from fos_jax.gallery.foregrounds import SCHEMA, parse_sides


class Columns:
    """The metadata of some foregrounds (`foregrounds.SCHEMA`); nothing is parsed before it is asked for."""

    def __init__(self, table: pa.Table, *, where: str, places: np.ndarray | None = None, is_from_disk: bool = True):
        """Takes a table as it is.

        Args:
          table: metadata; strings that repeat may be dictionaries.
          where: what messages call it.
          places: int64 [m], those of its rows that are meant, in order; None for all.
          is_from_disk: whether it is mapped and may be damaged.
        """
        self._table, self._where, self._places, self._is_from_disk = table, where, places, is_from_disk
        self._known: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self._table) if self._places is None else len(self._places)

    def numbers(self, name: str) -> np.ndarray:
        """The values of a column of numbers, [n]."""
        key = f"numbers of {name}"
        if key not in self._known:
            values = self._table[name].to_numpy()
            self._known[key] = values if self._places is None else values[self._places]
        return self._known[key]

    def array(self, name: str) -> pa.Array:
        """A column as one Arrow array, checked: offsets that a damaged file holds are never followed.

        Raises:
          InputError: the column is damaged.
        """
        if name not in self._known:
            try:
                values = self._table[name].combine_chunks()
                if isinstance(values, pa.ChunkedArray):  # of no chunks at all
                    values = pa.array([], self._table.schema.field(name).type)
                values.validate(full=True)
                self._known[name] = values if self._places is None else values.take(pa.array(self._places))
            except pa.ArrowException as error:
                reason = " ".join(str(error).split())
                raise InputError(f"{self._where}: column {name} is damaged ({reason})") from None
        return self._known[name]

    def take(self, places: np.ndarray) -> pa.Table:
        """A table of `SCHEMA` of some rows, int64 [m]."""
        chosen = pa.array(places, pa.int64())
        arrays = (self.array(name).take(chosen) for name in SCHEMA.names)
        return pa.table([a.cast(f.type) for a, f in zip(arrays, SCHEMA, strict=True)], SCHEMA)

    def value(self, name: str, place: int) -> Any:
        """One value, as a Python object."""
        if not self._is_from_disk:  # its chunks, which are many, are not joined for one value
            return self._table[name][int(place if self._places is None else self._places[place])].as_py()
        return self.values(name, np.array([place]))[0]

    def values(self, name: str, places: np.ndarray) -> list[Any]:
        """Some values, int64 [m], as Python objects."""
        if not self._is_from_disk:
            return [self.value(name, place) for place in places.tolist()]
        key = f"reader of {name}"
        if key not in self._known:
            self._known[key] = self._reader(name)
        return self._known[key](places)

    def _reader(self, name: str) -> Callable[[np.ndarray], list[Any]]:
        """Reads values of a column from its buffers: Arrow's own functions take ten times as long for a few."""
        of = self._table.schema.field(name).type
        if pa.types.is_dictionary(of):
            codes, distinct = self.codes(name)
            return lambda places: [distinct[code] for code in codes[places].tolist()]
        if not (pa.types.is_string(of) or pa.types.is_list(of)):
            numbers = self.numbers(name)
            return lambda places: numbers[places].tolist()
        values = self.array(name)
        _, starts, *text = values.buffers()[:3]
        offsets = np.frombuffer(starts or bytes(4), np.int32)[values.offset :]

        def ends(places: np.ndarray) -> Iterator[tuple[int, int]]:
            return zip(offsets[places].tolist(), offsets[places + 1].tolist(), strict=True)

        if pa.types.is_list(of):
            return lambda places: [
                values[place].as_py() if a < b else []
                for place, (a, b) in zip(places.tolist(), ends(places), strict=True)
            ]
        data = memoryview(text[0] or b"")
        return lambda places: [str(data[a:b], "utf-8") for a, b in ends(places)]

    def codes(self, name: str) -> tuple[np.ndarray, list[str | None]]:
        """A column of strings that repeat: int64 [n], which of the distinct values each has, and these."""
        key = f"codes of {name}"
        if key not in self._known:
            values = self.array(name)
            if not pa.types.is_dictionary(values.type):
                values = values.dictionary_encode()
            distinct = [*values.dictionary.to_pylist(), None]
            codes = pc.fill_null(values.indices, len(distinct) - 1).to_numpy(zero_copy_only=False)
            self._known[key] = codes.astype(np.int64), distinct
        return self._known[key]

    def is_in(self, name: str, wanted: Collection[str]) -> np.ndarray:
        """bool [n]: whose string is one of the wanted."""
        values = self.array(name)
        if pa.types.is_dictionary(values.type):
            codes, distinct = self.codes(name)
            return np.isin(np.asarray(distinct, object), list(wanted))[codes]
        return pc.is_in(values, pa.array(list(wanted), pa.string())).to_numpy(zero_copy_only=False)

    def has_tags(self, wanted: Collection[str]) -> np.ndarray:
        """bool [n]: whose tags hold all of the wanted."""
        lists = self.array("tags")
        parents = pc.list_parent_indices(lists).to_numpy()
        values, passes = pc.list_flatten(lists), np.ones(len(self), bool)
        for tag in wanted:
            passes &= (
                np.bincount(parents[pc.equal(values, tag).to_numpy(zero_copy_only=False)], minlength=len(self)) > 0
            )
        return passes

    def is_cut_only_at(self, sides: Collection[str], *, is_mirrored: bool) -> np.ndarray:
        """bool [n]: which were cut by their photograph at no other sides, as they are shown; true where unknown."""
        key = f"cut only at {sorted(sides)}, {is_mirrored}"  # of four sides: as many masks as there are kinds of places
        if key not in self._known:
            which, distinct = self.codes("truncated")
            passes = [set(parse_sides(text, is_mirrored) or ()) <= set(sides) for text in distinct]
            self._known[key] = np.array(passes, bool)[which]
        return self._known[key]

    @functools.cached_property
    def log_aspect(self) -> np.ndarray:
        """float64 [n]: logarithm of width / height."""
        return np.log(self.numbers("width_px") / self.numbers("height_px"))
