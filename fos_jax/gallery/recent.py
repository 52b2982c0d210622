"""Recent foregrounds in a reader's memory: arrays that only grow, so that what a snapshot holds never changes."""

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from fos_jax.errors import InputError
from fos_jax.gallery.columns import Columns
from fos_jax.gallery.foregrounds import SCHEMA, Layout
from fos_jax.gallery.indexing import Exact
from fos_jax.gallery.segment import VectorsOf
from fos_jax.gallery.store import RecentRow

_MOST_TABLES = 64  # per category, before they are joined


class Recent:
    """All recent foregrounds, removed ones too, in the order in which they came; a row is a place in that order."""

    def __init__(self, layout: Layout, *, where: str):
        """Nothing so far; `where` is what messages call their database."""
        self._layout, self._where = layout, where
        self._groups: dict[str, _Group] = {}
        self._is_live = _Growing(np.zeros(0, bool))
        self.numbers: list[int] = []  # in the database
        self.places: list[tuple[str, int]] = []  # category, place among its foregrounds
        self._row_of_number: dict[int, int] = {}
        self._rows_of_id: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return len(self.numbers)

    def append(self, rows: Iterable[RecentRow]) -> None:
        """Takes in what the database holds of them; `InputError` where that is damaged."""
        new: dict[str, list[RecentRow]] = {}
        for row in rows:
            own = new.setdefault(row.category, [])
            group = self._groups.get(row.category)
            self._row_of_number[row.number] = len(self.numbers)
            self._rows_of_id.setdefault(row.id, []).append(len(self.numbers))
            self.places.append((row.category, (len(group) if group else 0) + len(own)))
            self.numbers.append(row.number)
            self._is_live.append(np.array([bool(row.is_live)]))
            own.append(row)
        for category, added in new.items():
            if category not in self._groups:
                self._groups[category] = _Group(self._layout, category, self._where)
            self._groups[category].append(added, [self._row_of_number[row.number] for row in added])

    def set_live(self, number: int, is_live: bool) -> None:
        """Notes that the foreground of a number was removed or came back; earlier masks stay as they are."""
        mask = self._is_live.view().copy()
        mask[self._row_of_number[number]] = is_live
        self._is_live = _Growing(mask)

    @property
    def is_live(self) -> np.ndarray:
        """bool [n]: which are there now."""
        return self._is_live.view()

    @property
    def last_number(self) -> int:
        """The highest number so far, 0 at first."""
        return self.numbers[-1] if self.numbers else 0

    @property
    def categories(self) -> list[str]:
        """Names, removed foregrounds counted too."""
        return list(self._groups)

    def find(self, identifier: str, num_rows: int) -> list[int]:
        """Rows of an id among the first `num_rows`, newest first."""
        return [row for row in reversed(self._rows_of_id.get(identifier, [])) if row < num_rows]

    def views(self) -> dict[tuple[str, bool], VectorsOf]:
        """(category, whether mirrored) -> its foregrounds as of now."""
        return {(name, mirrored): of for name, g in self._groups.items() for mirrored, of in g.views().items()}


class _Group:
    """Those of one category."""

    def __init__(self, layout: Layout, category: str, where: str):
        self._where, self._patterns = where, layout.patterns(category)
        self._sizes = {"embedding": layout.embedding_size, "vector": layout.vector_size(category)}
        self._tables: list[pa.Table] = []
        self._rows = _Growing(np.zeros(0, np.int64))
        self._mirrored = _Growing(np.zeros(0, np.int64))
        self._arrays = {
            f"{prefix}{name}": _Growing(np.zeros((0, size), np.float32))
            for prefix in ("", "mirrored_")
            for name, size in self._sizes.items()
        }
        self._views: dict[bool, VectorsOf] | None = None

    def __len__(self) -> int:
        return len(self._rows.view())

    def append(self, rows: list[RecentRow], numbers: list[int]) -> None:
        """Takes rows in, which have these places among all recent foregrounds."""
        start = len(self)
        try:
            metadata = [json.loads(row.metadata) for row in rows]
            self._tables.append(pa.Table.from_pylist(metadata, SCHEMA))
        except (ValueError, TypeError, pa.ArrowException) as error:
            raise InputError(f"{self._where}: metadata of {rows[0].id} are damaged ({error})") from None
        if len(self._tables) > _MOST_TABLES:
            self._tables = [pa.concat_tables(self._tables).combine_chunks()]
        for name in self._sizes:
            self._append(name, rows)
        mirrored = [i for i, row in enumerate(rows) if row.mirrored_embedding is not None]
        for name in self._sizes:
            self._append(f"mirrored_{name}", [rows[i] for i in mirrored])
        self._mirrored.append(np.array([start + i for i in mirrored], np.int64))
        self._rows.append(np.array(numbers, np.int64))
        self._views = None

    def _append(self, name: str, rows: list[RecentRow]) -> None:
        size = self._sizes[name.removeprefix("mirrored_")]
        for row in rows:
            if len(getattr(row, name) or b"") != 4 * size:
                raise InputError(f"{self._where}: {name} of {row.id} is damaged, expected {size} numbers")
        values = np.frombuffer(b"".join(getattr(row, name) for row in rows), np.float32)
        self._arrays[name].append(values.reshape(len(rows), size))

    def views(self) -> dict[bool, VectorsOf]:
        if self._views is None:
            table, places = pa.concat_tables(self._tables), self._mirrored.view()
            self._views = {
                False: self._view("", Columns(table, where=self._where, is_from_disk=False), self._rows.view())
            }
            if len(places):
                columns = Columns(table, where=self._where, places=places, is_from_disk=False)
                self._views[True] = self._view("mirrored_", columns, self._rows.view()[places])
        return self._views

    def _view(self, prefix: str, columns: Columns, rows: np.ndarray) -> VectorsOf:
        embeddings, vectors = (self._arrays[f"{prefix}{name}"].view() for name in self._sizes)
        indexes: dict[str, Any] = {"cosine": Exact(embeddings), "posterior": Exact(vectors)}
        return VectorsOf(columns, self._patterns, embeddings, vectors, rows, indexes, bool(prefix))


class _Growing:
    """An array that rows are appended to; earlier views keep what they showed."""

    def __init__(self, start: np.ndarray):
        self._values, self._n = start, len(start)

    def append(self, rows: np.ndarray) -> None:
        stop = self._n + len(rows)
        if stop > len(self._values):
            larger = np.empty((max(2 * len(self._values), stop, 16), *self._values.shape[1:]), self._values.dtype)
            larger[: self._n] = self.view()
            self._values = larger
        self._values[self._n : stop] = rows
        self._n = stop

    def view(self) -> np.ndarray:
        return self._values[: self._n]
