"""Writing a segment: batch by batch to the disk, indexes at the end."""

import contextlib
import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from fos_jax.gallery.foregrounds import Foregrounds, Layout, all_categories
from fos_jax.gallery.indexing import Indexing
from fos_jax.gallery.segment import BLOBS, RANKINGS, SEGMENT, SEGMENT_SCHEMA, hash_ids, map_array, measure_file
from fos_jax.index.build import build_index

_HEADER_BYTES = 128  # of a .npy file whose number of rows is not known when its first are written


class SegmentWriter:
    """Takes foregrounds in and leaves a segment's folder; what is in memory is metadata only.

    with SegmentWriter(folder, layout) as writer:
      writer.add(foregrounds)
      checksum = writer.finish()
    """

    def __init__(self, folder: Path, layout: Layout, indexing: Indexing):
        """Makes the folder.

        Args:
          folder: where the segment goes; a part of it is worth nothing, so its caller publishes or removes it.
          layout: of the vectors.
          indexing: which categories get indexes, and how far these are searched.
        """
        self.folder, self.layout, self._indexing = folder, layout, indexing
        folder.mkdir(parents=True)
        with contextlib.ExitStack() as opening:
            self._blobs = {blob: opening.enter_context((folder / f"{blob}s.bin").open("wb")) for blob in BLOBS}
            self._files = opening.pop_all()
        self._metadata: dict[str, list[pa.Table]] = {}
        self._arrays: dict[tuple[str, str], _GrowingArray] = {}
        self.counts: Counter[str] = Counter()
        self.num_mirrored = 0

    def __enter__(self) -> "SegmentWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def __len__(self) -> int:
        return self.counts.total()

    def add(self, batch: Foregrounds) -> None:
        """Appends foregrounds of one category; `InputError` as `Foregrounds.check`."""
        batch.check(self.layout)
        table, n = batch.metadata, self.counts.setdefault(batch.category, 0)
        for blob, pictures in zip(BLOBS, (batch.thumbnails, batch.cutouts), strict=True):
            start, lengths = self._blobs[blob].tell(), np.array([len(png) for png in pictures], np.int64)
            self._blobs[blob].write(b"".join(pictures))
            table = table.append_column(f"{blob}_offset", pa.array(start + np.cumsum(lengths) - lengths))
            table = table.append_column(f"{blob}_length", pa.array(lengths))
        self._metadata.setdefault(batch.category, []).append(table)
        self._append(batch.category, "embeddings", batch.embeddings)
        self._append(batch.category, "vectors", batch.vectors)
        if len(batch.mirrored):
            self._append(batch.category, "mirrored_embeddings", batch.mirrored_embeddings)
            self._append(batch.category, "mirrored_vectors", batch.mirrored_vectors)
            self._append(batch.category, "mirrored_rows", batch.mirrored + n)
        self.counts[batch.category] += len(batch)
        self.num_mirrored += len(batch.mirrored)

    def finish(self) -> str:
        """Writes all the rest; returns the SHA-256 of segment.json, which stands for the whole segment."""
        categories = [name for name in all_categories(self.layout.table, self.counts) if self.counts[name]]
        for array in self._arrays.values():
            array.finish()
        self._files.close()
        table = pa.concat_tables(part for name in categories for part in self._metadata.pop(name)).combine_chunks()
        table = table.cast(SEGMENT_SCHEMA).unify_dictionaries().combine_chunks()
        with pa.OSFile(str(self.folder / "metadata.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as file:
            file.write_table(table, max_chunksize=max(1, len(table)))
        hashes = hash_ids(table["id"].to_pylist())
        order = np.argsort(hashes, kind="stable")
        np.save(self.folder / "id_hashes.npy", hashes[order])
        np.save(self.folder / "id_rows.npy", order)
        for number, name in enumerate(categories):
            staged = self._folder(name)
            final = self.folder / str(number)
            staged.rename(final)
            self._build_indexes(name, final)
        files = {
            path.relative_to(self.folder).as_posix(): measure_file(path)
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }
        counts = {name: self.counts[name] for name in categories}
        raw = json.dumps({"counts": counts, "num_mirrored": self.num_mirrored, "files": files}, indent=1).encode()
        (self.folder / SEGMENT).write_bytes(raw)
        return hashlib.sha256(raw).hexdigest()

    def _folder(self, category: str) -> Path:
        return self.folder / f"category-{list(self.counts).index(category)}"  # names may not be file names

    def _append(self, category: str, name: str, rows: np.ndarray) -> None:
        if (category, name) not in self._arrays:
            folder = self._folder(category)
            folder.mkdir(exist_ok=True)
            file = self._files.enter_context((folder / f"{name}.npy").open("wb"))
            self._arrays[category, name] = _GrowingArray(file, rows)
        self._arrays[category, name].append(rows)

    def _build_indexes(self, category: str, folder: Path) -> None:
        for prefix in ("", "mirrored_"):
            if not (folder / f"{prefix}vectors.npy").exists():
                continue
            for ranking in RANKINGS:
                name = f"{prefix}{'embeddings' if ranking == 'cosine' else 'vectors'}"
                size = self.layout.embedding_size if ranking == "cosine" else self.layout.vector_size(category)
                vectors = map_array(folder / f"{name}.npy", (None, size))
                if len(vectors) < self._indexing.min_rows or not size:
                    continue
                # The vectors carry the usual weights of experts already: a query's experts weigh 1 where it has these.
                sizes = list(self.layout.expert_sizes.values()) if ranking == "posterior" else []
                build_index(
                    vectors,
                    folder / f"{prefix}index_{ranking}",
                    ranking=ranking,
                    expert_sizes=sizes,
                    expert_weights=[1.0] * len(sizes),
                    queries=self._indexing.queries.get(category, {}).get(ranking),
                    target_recall=self._indexing.target_recall,
                    min_rows=1,
                    where=f"{ranking} vectors of {category}",
                )


class _GrowingArray:
    """A .npy file that rows are appended to; its header, of fixed length, is written when their number is known."""

    def __init__(self, file: BinaryIO, like: np.ndarray):
        self._file, self._dtype, self._shape, self._n = file, like.dtype, like.shape[1:], 0
        file.write(bytes(_HEADER_BYTES))

    def append(self, rows: np.ndarray) -> None:
        self._file.write(np.ascontiguousarray(rows, self._dtype).data)
        self._n += len(rows)

    def finish(self) -> None:
        shape = (self._n, *self._shape)
        header = f"{{'descr': {self._dtype.str!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
        length = _HEADER_BYTES - 10  # after the magic string, the version and the length itself
        self._file.seek(0)
        self._file.write(b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + f"{header:{length - 1}}\n".encode())
