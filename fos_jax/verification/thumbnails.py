"""Small pictures of cut-outs, made when they are first asked for."""

import collections
import functools
import io
import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.errors import InputError
from fos_jax.images import prepare_cutout

SIDE_PX = 128
_KEPT_THUMBNAILS = 20_000  # about 4 kB each
_KEPT_SHARDS = 16
_KEPT_BYTES = 256_000_000  # of whole cut-outs, in the row groups read last


class Thumbnails:
    """WebP pictures with transparency, `SIDE_PX` square.

    Rows of a shard are read a row group at a time (some hundred cut-outs); cut-outs that lie together come cheap.
    """

    def __init__(self, cutouts: CutoutSet):
        self._folder = cutouts.folder / "shards"
        self._shards, self._rows = cutouts.table["shard"].to_numpy(), cutouts.table["row"].to_numpy()
        self._lock = threading.Lock()
        self._groups: collections.OrderedDict[tuple[int, int], tuple[pa.ChunkedArray, int]] = collections.OrderedDict()
        self._bytes = 0
        self._file = functools.lru_cache(_KEPT_SHARDS)(self._open)
        self.webp = functools.lru_cache(_KEPT_THUMBNAILS)(self._webp)

    def _webp(self, cutout: int) -> bytes:
        """The picture of a cut-out, by its number; `InputError` where its shard is gone."""
        rgba = np.asarray(Image.open(io.BytesIO(self._png(cutout))))
        buffer = io.BytesIO()
        Image.fromarray(prepare_cutout(rgba, SIDE_PX)).save(buffer, "WEBP", quality=80, method=2)
        return buffer.getvalue()

    def _png(self, cutout: int) -> bytes:
        shard, row = int(self._shards[cutout]), int(self._rows[cutout])
        with self._lock:  # a Parquet file is not to be read by two threads at once
            try:
                file, starts = self._file(shard)
                part = int(np.searchsorted(starts, row, side="right")) - 1
                column = self._groups.get((shard, part))
                if column is None:
                    column = (file.read_row_group(part, columns=["png"])["png"], 0)
                    column = (column[0], column[0].nbytes)
                    self._groups[shard, part] = column
                    self._bytes += column[1]
                    while self._bytes > _KEPT_BYTES and len(self._groups) > 1:
                        self._bytes -= self._groups.popitem(last=False)[1][1]
                self._groups.move_to_end((shard, part))
                return column[0][row - int(starts[part])].as_py()
            except (OSError, pa.ArrowException) as error:
                raise InputError(f"cut-out {cutout}: cannot be read ({' '.join(str(error).split())})") from None

    def _open(self, shard: int) -> tuple[pq.ParquetFile, np.ndarray]:
        file = pq.ParquetFile(self._folder / f"cutouts-{shard:05d}.parquet")
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        return file, np.concatenate([[0], np.cumsum(sizes)])[:-1]
