"""A finished extraction, opened for reading: kept cut-outs with metadata and pictures."""

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from fos_jax.cutouts.extraction import FORMAT_VERSION
from fos_jax.cutouts.shards import read_rows
from fos_jax.errors import InputError


class CutoutSet:
    """The kept cut-outs of one extraction, in the order of its plan.

    Attributes:
      folder: of the extraction.
      manifest: as `extraction.finish` wrote it.
      fingerprint: of source, thresholds and pictures; proposals carry it.
      table: one row per kept cut-out, columns as in `index.parquet`.
    """

    def __init__(self, folder: str | Path):
        """Opens the folder.

        Raises:
          InputError: no finished extraction there, or one of another version.
        """
        self.folder = Path(folder)
        path = self.folder / "manifest.json"
        try:
            self.manifest: dict[str, Any] = json.loads(path.read_text("utf-8"))
            if self.manifest["format_version"] != FORMAT_VERSION:
                raise InputError(f"{path}: format_version is not {FORMAT_VERSION}")
            sums = "".join(shard["sha256"] for shard in self.manifest["shards"])
            self.fingerprint = f"{self.manifest['plan']}-{hashlib.sha256(sums.encode()).hexdigest()[:16]}"
            table = pq.read_table(self.folder / "index.parquet")
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}), expected a finished extraction") from None
        except (ValueError, KeyError, TypeError, pa.ArrowException) as error:
            raise InputError(f"{path}: not a finished extraction ({' '.join(str(error).split())})") from None
        self.table = table.filter(pa.array(np.array(table["rejected_by"].to_pylist(), object) == ""))

    def __len__(self) -> int:
        return self.table.num_rows

    def column(self, name: str) -> list[Any]:
        """One column of the table as Python values."""
        return self.table[name].to_pylist()

    def attributes(self) -> list[dict[str, Any]]:
        """Further facts of each annotation (keypoints, viewpoint, ...)."""
        return [json.loads(text) for text in self.column("attributes")]

    @staticmethod
    def shard_path(folder: str | Path, shard: int) -> Path:
        """File of one shard of an extraction."""
        return Path(folder) / "shards" / f"cutouts-{shard:05d}.parquet"

    def pictures(self, indices: Sequence[int] | np.ndarray | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (index, uint8 [h, w, 4]) of the wanted cut-outs, all by default, in the order of the shards."""
        shards, rows = self.table["shard"].to_numpy(), self.table["row"].to_numpy()
        wanted = np.arange(len(self)) if indices is None else np.asarray(indices, np.int64)
        for shard in np.unique(shards[wanted]):
            here = wanted[shards[wanted] == shard]
            index_of_row = dict(zip(rows[here].tolist(), here.tolist(), strict=True))
            for row, (png,) in enumerate(read_rows(self.shard_path(self.folder, shard), ("png",))):
                if row in index_of_row:
                    yield index_of_row[row], np.asarray(Image.open(io.BytesIO(png)))
