"""A segment: an immutable folder of foregrounds, grouped by category, mapped into memory and never parsed as a whole.

segment.json                    counts in order, sizes and checksums of all files
metadata.arrow                  one row per foreground, uncompressed
id_hashes.npy, id_rows.npy      hashes of ids, sorted, and the rows that they belong to
thumbnails.bin, cutouts.bin     PNG files end to end
<i>/                            vectors and indexes of the i-th category
"""

import dataclasses
import functools
import hashlib
import json
import os
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from fos_jax.errors import InputError
from fos_jax.gallery.columns import Columns
from fos_jax.gallery.foregrounds import SCHEMA, Layout
from fos_jax.index.build import open_index
from fos_jax.index.exact import ExactIndex, Index

SEGMENT = "segment.json"
REPEATED = ("source_id", "licence", "truncated")  # columns that are stored as dictionaries
BLOBS = ("thumbnail", "cutout")
_PLACES = {f"{blob}_{part}": pa.int64() for blob in BLOBS for part in ("offset", "length")}
# Of a segment's metadata: also where the pictures lie in their blobs.
SEGMENT_SCHEMA = pa.schema(
    {field.name: pa.dictionary(pa.int32(), pa.string()) if field.name in REPEATED else field.type for field in SCHEMA}
    | _PLACES
)
RankBy = Literal["posterior", "cosine"]
# NumPy parses headers as Python code, and two threads that do so at once may fail in Python 3.11 ("AST constructor
# recursion depth mismatch").
_HEADERS = threading.Lock()
RANKINGS: tuple[RankBy, ...] = ("posterior", "cosine")


@dataclasses.dataclass(frozen=True)
class VectorsOf:
    """Foregrounds of one category that are searched together: of a segment or recent ones, as they are or mirrored.

    Attributes:
      columns: their metadata, n rows.
      patterns: int64 [p], ids of the category's patterns.
      embeddings: float32 [n, D]. vectors: float32 [n, size], see `foregrounds.Layout`.
      rows: int64 [n], rows in the segment, or numbers among the recent.
      indexes: ranking -> index of embeddings (cosine) or vectors (posterior).
      is_mirrored: whether they are shown mirrored.
    """

    columns: Columns
    patterns: np.ndarray
    embeddings: np.ndarray
    vectors: np.ndarray
    rows: Any
    indexes: dict[str, Index]
    is_mirrored: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    def by_ranking(self, ranking: str) -> np.ndarray:
        """float32 [n, d]: what a query's vector is multiplied with."""
        return self.embeddings if ranking == "cosine" else self.vectors

    @functools.cached_property
    def assigned(self) -> np.ndarray:
        """int [n]: most probable pattern as they are shown, -1 where there is none."""
        if not self.is_mirrored or not len(self.patterns):
            return self.columns.numbers("pattern")
        return self.patterns[self.vectors[:, : len(self.patterns)].argmax(axis=1)]

    def of_pattern(self, pattern: int) -> np.ndarray:
        """int64 [m]: places of those that are assigned to it, ascending."""
        return self._by_pattern.get(pattern, np.zeros(0, np.int64))

    @functools.cached_property
    def _by_pattern(self) -> dict[int, np.ndarray]:
        order = np.argsort(self.assigned, kind="stable")
        numbers, starts = np.unique(self.assigned[order], return_index=True)
        return dict(zip(numbers.tolist(), np.split(order, starts[1:]), strict=True))

    @functools.cached_property
    def confidence(self) -> np.ndarray:
        """float32 [n]: its probability, 0 where there is none."""
        if not self.is_mirrored or not len(self.patterns):
            return self.columns.numbers("confidence")
        return self.vectors[:, : len(self.patterns)].max(axis=1)


class Segment:
    """An opened segment; everything that it needs stays open, so that its folder may be deleted meanwhile."""

    def __init__(self, folder: Path, layout: Layout, *, checksum: str | None = None, with_indexes: bool = True):
        """Maps the files of a folder.

        Args:
          folder: of the segment. layout: of the gallery's vectors.
          checksum: SHA-256 of segment.json, None to leave it unchecked.
          with_indexes: False for exact search, where ids and pictures are all that is wanted.

        Raises:
          FileNotFoundError: no such folder any more (it was compacted).
          InputError: a file that is missing, of another size or damaged, as far as opening notices.
        """
        self.folder, self.name = folder, folder.name
        self.description = read_description(folder, checksum=checksum)
        self.counts: dict[str, int] = self.description["counts"]
        n = len(self)
        stops = np.cumsum([0, *self.counts.values()]).tolist()
        self._range = {name: (start, stop) for name, start, stop in zip(self.counts, stops, stops[1:], strict=False)}
        self._table = _map_table(folder / "metadata.arrow", n)
        self._where = str(folder / "metadata.arrow")
        self.columns = Columns(self._table, where=self._where)
        self._hashes = map_array(folder / "id_hashes.npy", (n,), np.uint64)
        self._rows = map_array(folder / "id_rows.npy", (n,), np.int64)
        self._blobs = {blob: os.open(folder / f"{blob}s.bin", os.O_RDONLY) for blob in BLOBS}
        for descriptor in self._blobs.values():  # open as long as a search may still use the segment
            weakref.finalize(self, os.close, descriptor)
        self._with_indexes = with_indexes
        self._plain: dict[str, VectorsOf] = {}
        self._mirrored: dict[str, VectorsOf] = {}
        for number, name in enumerate(self.counts):
            self._open_category(name, folder / str(number), layout)

    def __len__(self) -> int:
        return sum(self.counts.values())

    def _open_category(self, name: str, folder: Path, layout: Layout) -> None:
        start, stop = self._range[name]
        n, table = stop - start, self._table.slice(start, stop - start)
        self._plain[name] = self._open_vectors(
            name, folder, layout, Numbers(start, stop), Columns(table, where=self._where)
        )
        path = folder / "mirrored_rows.npy"
        if path.exists():
            rows = map_array(path, (None,), np.int64)
            if not ((rows >= 0) & (rows < n)).all():
                raise InputError(f"{path}: rows from {rows.min()} to {rows.max()}, expected 0 to {n - 1}")
            columns = Columns(table, where=self._where, places=rows)
            self._mirrored[name] = self._open_vectors(name, folder, layout, rows + start, columns, "mirrored_")

    def _open_vectors(
        self, name: str, folder: Path, layout: Layout, rows: Any, columns: Columns, prefix: str = ""
    ) -> VectorsOf:
        embeddings = map_array(folder / f"{prefix}embeddings.npy", (len(rows), layout.embedding_size))
        vectors = map_array(folder / f"{prefix}vectors.npy", (len(rows), layout.vector_size(name)))
        by_ranking = {"cosine": embeddings, "posterior": vectors}
        indexes: dict[str, Index] = {}
        for ranking, of in by_ranking.items():
            index = folder / f"{prefix}index_{ranking}"
            has_index = self._with_indexes and index.is_dir()
            indexes[ranking] = open_index(index, of) if has_index else ExactIndex(of, is_checked=True)
        return VectorsOf(columns, layout.patterns(name), embeddings, vectors, rows, indexes, bool(prefix))

    def category(self, name: str, *, mirrored: bool = False) -> VectorsOf | None:
        """The foregrounds of a category, as they are or those that are held mirrored; None where there are none."""
        return (self._mirrored if mirrored else self._plain).get(name)

    def category_of(self, row: int) -> str:
        """Name of the category of a row."""
        return next(name for name, (start, stop) in self._range.items() if start <= row < stop)

    def first_row(self, category: str) -> int:
        """The first row of a category that the segment holds."""
        return self._range[category][0]

    def find(self, identifier: str) -> int | None:
        """The row of an id, removed or not; None where there is none."""
        wanted = hash_ids([identifier])[0]
        start, stop = (int(np.searchsorted(self._hashes, wanted, side)) for side in ("left", "right"))
        for row in self._rows[start:stop].tolist():
            if not 0 <= row < len(self):
                raise InputError(f"{self.folder / 'id_rows.npy'}: row {row}, expected 0 to {len(self) - 1}")
            if self.columns.value("id", row) == identifier:
                return row
        return None

    def picture(self, row: int, blob: str) -> bytes:
        """A PNG file of a row; `InputError` where the blob ends earlier."""
        offset, length = (int(self.columns.numbers(f"{blob}_{part}")[row]) for part in ("offset", "length"))
        data = os.pread(self._blobs[blob], length, offset) if min(offset, length) >= 0 else b""
        if len(data) != length:
            file = self.folder / f"{blob}s.bin"
            raise InputError(f"{file}: ends at {offset + len(data)}, expected {offset + length} bytes")
        return data


class Numbers:
    """The numbers from start to stop as if they were an array: a million are made only when they are asked for."""

    def __init__(self, start: int, stop: int):
        self.start, self.stop = start, stop

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, places: Any) -> Any:
        return self.start + (np.arange(len(self))[places] if isinstance(places, slice) else np.asarray(places))

    def __add__(self, number: int) -> "Numbers":
        return Numbers(self.start + number, self.stop + number)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.arange(self.start, self.stop, dtype=dtype)


def hash_ids(ids: Sequence[str]) -> np.ndarray:
    """uint64 [n]: stable hashes of ids."""
    digests = (hashlib.blake2b(identifier.encode(), digest_size=8).digest() for identifier in ids)
    return np.frombuffer(b"".join(digests), np.uint64)


def read_description(folder: Path, *, checksum: str | None = None, check_sizes: bool = True) -> dict[str, Any]:
    """segment.json, once every file that it lists is there with its size, unless that is not checked.

    Raises:
      FileNotFoundError: no such folder.
      InputError: segment.json is no description or has another checksum, or a file is missing or of another size.
    """
    path = folder / SEGMENT
    if not folder.is_dir():
        raise FileNotFoundError(folder)
    try:
        raw = path.read_bytes()
        description = json.loads(raw)
        if checksum is not None and hashlib.sha256(raw).hexdigest() != checksum:
            raise InputError(f"{path}: its checksum differs from the one in gallery.db")
        files, counts = dict(description["files"]), description["counts"]
        if not all(isinstance(n, int) and n > 0 for n in counts.values()):
            raise InputError(f"{path}: counts are {counts!r}, expected a number for each category")
        sizes = {folder / name: int(expected["bytes"]) for name, expected in files.items()}
    except FileNotFoundError:
        raise InputError(f"{path}: missing") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not a segment's description ({type(error).__name__}: {error})") from None
    for file, size in sizes.items() if check_sizes else ():
        if not file.is_file():
            raise InputError(f"{file}: missing, though {path} lists it")
        if file.stat().st_size != size:
            raise InputError(f"{file}: {file.stat().st_size} bytes, expected {size}")
    return description


def measure_file(path: Path) -> dict[str, Any]:
    """Size and checksum, as descriptions list them."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
        return {"bytes": file.tell(), "sha256": digest.hexdigest()}


def map_array(path: Path, shape: tuple[int | None, ...], dtype: Any = np.float32) -> np.ndarray:
    """A .npy file, mapped.

    Args:
      path: the file. shape: expected, None for any length. dtype: expected.

    Raises:
      InputError: it cannot be read or holds another array.
    """
    try:
        with _HEADERS:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:  # nothing to map in an array of no elements
        with _HEADERS:
            array = _load_empty(path, error)
    except (OSError, EOFError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    fits = array.ndim == len(shape) and all(w in (None, n) for n, w in zip(array.shape, shape, strict=True))
    if array.dtype != dtype or not fits:
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise InputError(f"{path}: {array.dtype} {list(array.shape)}, expected {np.dtype(dtype)} [{wanted}]")
    return array.view(np.ndarray)


def _load_empty(path: Path, cause: ValueError) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    if array.size:
        raise InputError(f"{path}: cannot be mapped ({cause})") from None
    return array


def _map_table(path: Path, num_rows: int) -> pa.Table:
    try:
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
    if table.schema != SEGMENT_SCHEMA or len(table) != num_rows:
        raise InputError(f"{path}: {len(table)} rows of another kind, expected {num_rows} foregrounds")
    return table
