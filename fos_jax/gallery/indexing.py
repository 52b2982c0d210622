"""Settings of a gallery's indexes: the categories that get one, and how far it is searched."""

import dataclasses
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fos_jax.errors import InputError
from fos_jax.gallery.segment import RANKINGS
from fos_jax.index.build import SCANN_MIN_ROWS

TUNING_QUERIES = "tuning_queries.npz"
TARGET_RECALL = 0.99


@dataclasses.dataclass(frozen=True)
class Indexing:
    """What holds for the indexes of a gallery, also for those that compaction builds.

    Attributes:
      min_rows: categories of at least so many foregrounds get indexes, others are searched exactly.
      target_recall: share of the 20 best foregrounds that an index has to find, more than 0 and at most 1.
      queries: category -> ranking -> float32 [m, d], what the recall is measured with; for other categories, queries
        are made of the foregrounds.
    """

    min_rows: int = SCANN_MIN_ROWS
    target_recall: float = TARGET_RECALL
    queries: Mapping[str, Mapping[str, np.ndarray]] = dataclasses.field(default_factory=dict)

    def write(self, folder: Path) -> dict[str, Any]:
        """Writes the queries into a gallery's folder; returns what the manifest says of them."""
        told: dict[str, Any] = {"index_min_rows": self.min_rows, "target_recall": self.target_recall}
        if not self.queries:
            return told
        file = io.BytesIO()
        arrays: Any = {f"{i}_{name}": of[name] for i, of in enumerate(self.queries.values()) for name in RANKINGS}
        np.savez(file, **arrays)
        (folder / TUNING_QUERIES).write_bytes(file.getvalue())
        counts = {category: len(of["cosine"]) for category, of in self.queries.items()}
        checksum = hashlib.sha256(file.getvalue()).hexdigest()
        return told | {"tuning_queries": {"counts": counts, "sha256": checksum}}

    @classmethod
    def read(cls, gallery: Path, manifest: Mapping[str, Any]) -> "Indexing":
        """What `write` wrote; `InputError` where the queries are missing or others."""
        target = float(manifest.get("target_recall", TARGET_RECALL))  # galleries of before were built with that
        if "tuning_queries" not in manifest:
            return cls(manifest["index_min_rows"], target)
        path, told = gallery / TUNING_QUERIES, manifest["tuning_queries"]
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        if hashlib.sha256(raw).hexdigest() != told["sha256"]:
            raise InputError(f"{path}: its checksum differs from the one in the gallery's manifest")
        with np.load(io.BytesIO(raw), allow_pickle=False) as arrays:
            queries: Any = {c: {name: arrays[f"{i}_{name}"] for name in RANKINGS} for i, c in enumerate(told["counts"])}
        return cls(manifest["index_min_rows"], target, queries)


USUAL = Indexing()
