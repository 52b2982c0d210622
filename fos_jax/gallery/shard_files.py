"""Files of encoded cut-outs: Parquet with metadata, vectors and pictures, written whole or not at all.

Columns: those of `foregrounds.SCHEMA`, the category, vectors as float32 bytes (mirrored ones null where there are none)
and pictures. A row group is one batch of one category, and what reading holds in memory; pages carry checksums. Facts
about the file lie in its key-value metadata under `fos_jax`, as JSON.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fos_jax.errors import InputError
from fos_jax.files import published_file
from fos_jax.gallery.foregrounds import SCHEMA, Foregrounds, Layout

_METADATA_KEY = b"fos_jax"
_VECTORS = ("embeddings", "vectors", "mirrored_embeddings", "mirrored_vectors")
_PICTURES = ("thumbnails", "cutouts")
_SHARD_SCHEMA = pa.schema(
    [*SCHEMA, ("category", pa.string())]
    + [(name, pa.binary()) for name in _VECTORS]
    + [(name, pa.large_binary()) for name in _PICTURES]  # of a batch, they may pass 2 GB
)


def write_shard(path: Path, batches: Iterable[Foregrounds], facts: Callable[[], dict[str, Any]]) -> None:
    """Writes one shard.

    Args:
      path: of the shard. Two workers may write it at once where a cluster retries: the last one wins.
      batches: what it holds.
      facts: called after the last batch.

    Raises:
      InputError: the disk refuses; nothing is left behind.
    """
    plain = [*_VECTORS, *_PICTURES]
    with (
        published_file(path) as aside,
        pq.ParquetWriter(
            aside,
            _SHARD_SCHEMA,
            compression={name: "none" if name in plain else "zstd" for name in _SHARD_SCHEMA.names},
            use_dictionary=["category", "source_id", "licence", "truncated"],
            write_statistics=False,
            write_page_checksum=True,
        ) as writer,
    ):
        for batch in batches:
            writer.write_table(_table(batch), row_group_size=max(1, len(batch)))
        writer.add_key_value_metadata({_METADATA_KEY: json.dumps(facts()).encode()})


def _table(batch: Foregrounds) -> pa.Table:
    place = {row: m for m, row in enumerate(batch.mirrored.tolist())}
    columns: dict[str, Any] = {name: batch.metadata[name] for name in SCHEMA.names}
    columns["category"] = [batch.category] * len(batch)
    for name in _VECTORS:
        rows = [row.astype("<f4").tobytes() for row in getattr(batch, name)]
        is_mirrored = name.startswith("mirrored_")
        columns[name] = [rows[place[i]] if i in place else None for i in range(len(batch))] if is_mirrored else rows
    for name in _PICTURES:
        columns[name] = list(getattr(batch, name))
    return pa.table(columns, schema=_SHARD_SCHEMA)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path, memory_map=True, page_checksum_verification=True) as file:
            yield file
    except InputError:
        raise
    except (OSError, KeyError, TypeError, ValueError, AttributeError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a shard of encoded cut-outs, or damaged ({reason}): delete it") from None


def read_facts(path: Path) -> dict[str, Any]:
    """The facts of a shard; `InputError` where the file is none."""
    with _opened(path) as file:
        return dict(json.loads(file.metadata.metadata[_METADATA_KEY]))


def read_ids(path: Path) -> list[str]:
    """The ids of a shard's cut-outs; `InputError` where the file is none."""
    with _opened(path) as file:
        return file.read(columns=["id"])["id"].to_pylist()


def read_shard(path: Path, layout: Layout) -> Iterator[Foregrounds]:
    """Yields what `write_shard` was given, batch by batch; `InputError` where the file is damaged."""
    with _opened(path) as file:
        for group in range(file.num_row_groups):
            yield _foregrounds(file.read_row_group(group), layout)


def _foregrounds(table: pa.Table, layout: Layout) -> Foregrounds:
    (category,) = set(table["category"].to_pylist())
    # They come into the gallery now, whenever they were encoded.
    now = pa.array(np.full(len(table), time.time()))
    metadata = table.select(SCHEMA.names).set_column(SCHEMA.get_field_index("added_s"), "added_s", now).cast(SCHEMA)
    mirrored = np.flatnonzero(table["mirrored_embeddings"].is_valid().to_numpy())

    def vectors(name: str, size: int, rows: int) -> np.ndarray:
        joined = b"".join(row for row in table[name].to_pylist() if row is not None)
        return np.frombuffer(joined, "<f4").astype(np.float32, copy=False).reshape(rows, size)

    embedding, vector = layout.embedding_size, layout.vector_size(category)
    return Foregrounds(
        category,
        metadata,
        vectors("embeddings", embedding, len(table)),
        vectors("vectors", vector, len(table)),
        table["thumbnails"].to_pylist(),
        table["cutouts"].to_pylist(),
        mirrored,
        vectors("mirrored_embeddings", embedding, len(mirrored)),
        vectors("mirrored_vectors", vector, len(mirrored)),
    )
