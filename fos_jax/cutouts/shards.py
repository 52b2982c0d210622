"""Shards of cut-outs: Parquet files with metadata, measures and the PNG of each cut-out; never half a file.

A shard is written aside and renamed when it is whole. Columns: `SCHEMA`. Rows of cut-outs that fell to a filter keep
their measures; their picture is kept for a few examples only (`example`, a small JPEG). Counts and defects lie in the
file's key-value metadata under `fos_jax`, as JSON.
"""

import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fos_jax.cutouts.measures import Measures
from fos_jax.errors import InputError
from fos_jax.files import write_whole

_METADATA_KEY = b"fos_jax"
_ROWS_A_GROUP = 128  # bounds the memory of writing and of reading one picture

_MEASURE_TYPES = {
    "width_px": pa.int32(),
    "height_px": pa.int32(),
    "area_px": pa.int64(),
    "truncated": pa.list_(pa.string()),
}
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("category", pa.string()),
        ("source_id", pa.string()),
        ("source_path", pa.string()),
        ("licence", pa.string()),
        ("box_xyxy_px", pa.list_(pa.int32(), 4)),
        ("frame_width_px", pa.int32()),
        ("frame_height_px", pa.int32()),
        ("attributes", pa.string()),  # JSON
        ("hash", pa.uint64()),
        ("source_hash", pa.uint64()),
        ("rejected_by", pa.string()),  # first filter, "" where kept
        ("also_rejected_by", pa.list_(pa.string())),
        *((field.name, _MEASURE_TYPES.get(field.name, pa.float32())) for field in dataclasses.fields(Measures)),
        ("png", pa.binary()),
        ("example", pa.binary()),
    ]
)
PICTURE_COLUMNS = ("png", "example")
METADATA_COLUMNS = tuple(name for name in SCHEMA.names if name not in PICTURE_COLUMNS)


class ShardWriter:
    """Writes one shard; leaving the `with` block without an error publishes it, anything else leaves nothing."""

    def __init__(self, path: str | Path):
        self._path = Path(path)
        # Two workers may run the same shard where a cluster retries: each has its own file, the last rename wins.
        self._aside = self._path.with_name(f".{self._path.name}.{os.getpid()}.tmp")
        self._rows: list[dict[str, Any]] = []
        plain = [name for name in SCHEMA.names if name not in PICTURE_COLUMNS]
        codecs = {**dict.fromkeys(plain, "zstd"), **dict.fromkeys(PICTURE_COLUMNS, "none")}
        names = ["category", "source_id", "source_path", "licence", "rejected_by"]
        try:
            self._writer = pq.ParquetWriter(self._aside, SCHEMA, compression=codecs, use_dictionary=names)
        except BaseException:
            self._aside.unlink(missing_ok=True)
            raise

    def add(self, row: dict[str, Any]) -> None:
        """Adds one row, keyed by the columns of `SCHEMA`; pictures may be None."""
        self._rows.append(row)
        if len(self._rows) >= _ROWS_A_GROUP:
            self._flush()

    def set_summary(self, summary: dict[str, Any]) -> None:
        """Stores JSON in the file's metadata."""
        self._writer.add_key_value_metadata({_METADATA_KEY: json.dumps(summary).encode()})

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=SCHEMA))
            self._rows.clear()

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._flush()
            self._writer.close()
            if kind is None:
                publish(self._aside, self._path)
        finally:
            self._aside.unlink(missing_ok=True)


def publish(aside: Path, path: Path) -> None:
    """Makes a whole file visible under its name, also after a power cut."""
    with aside.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(aside, path)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON whole or not at all."""
    write_whole(path, json.dumps(value, indent=1) + "\n")


def read_summary(path: Path) -> dict[str, Any]:
    """The JSON that `set_summary` stored; `InputError` where the file is no shard."""
    try:
        return json.loads(pq.read_metadata(path).metadata[_METADATA_KEY])
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    except (KeyError, TypeError, ValueError, pa.ArrowException):
        raise InputError(f"{path}: not a shard of cut-outs") from None


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The wanted columns of one shard, a row group at a time; `InputError` where they cannot be read."""
    try:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(batch_size=_ROWS_A_GROUP, columns=list(columns))
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read as a shard of cut-outs ({' '.join(str(error).split())})") from None
