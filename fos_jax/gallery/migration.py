"""Encodings of foregrounds on disk: embeddings, pattern posteriors and the experts' vectors."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fos_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Vectors:
    """Encodings of foregrounds, mapped, not loaded: a search touches one category.

    Attributes:
      embeddings: float32 [n, D], unit.
      log_posteriors: float32 [n, most patterns of a category], padded with -inf.
      experts: name -> float32 [n, size of the expert], unit.
    """

    embeddings: np.ndarray
    log_posteriors: np.ndarray
    experts: Mapping[str, np.ndarray]

    @classmethod
    def read(cls, folder: Path, num_rows: int, experts: Collection[str]) -> "Vectors":
        """Opens what `write` left; `InputError` where a file is damaged or of other rows."""
        return cls(
            _read_array(folder / "embeddings.npy", num_rows),
            _read_array(folder / "log_posteriors.npy", num_rows),
            {name: _read_array(folder / f"expert_{name}.npy", num_rows) for name in experts},
        )

    def write(self, folder: Path) -> None:
        np.save(folder / "embeddings.npy", self.embeddings)
        np.save(folder / "log_posteriors.npy", self.log_posteriors)
        for name, vectors in self.experts.items():
            np.save(folder / f"expert_{name}.npy", vectors)

    def take(self, rows: Any) -> "Vectors":
        """The wanted rows: a slice, bool or int [m]."""
        taken = {name: vectors[rows] for name, vectors in self.experts.items()}
        return Vectors(self.embeddings[rows], self.log_posteriors[rows], taken)

    @classmethod
    def join(cls, parts: Sequence["Vectors"]) -> "Vectors":
        """All rows of the parts, in their order."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.embeddings for part in parts]),
            np.concatenate([part.log_posteriors for part in parts]),
            {name: np.concatenate([part.experts[name] for part in parts]) for name in parts[0].experts},
        )


def join_vectors(posterior: np.ndarray, experts: Mapping[str, np.ndarray], names: Iterable[str]) -> np.ndarray:
    """float32 [..., p + sizes of the experts]: posterior [..., p] and the named experts' vectors, end to end."""
    return np.concatenate([posterior, *(np.asarray(experts[name], np.float32) for name in names)], axis=-1)


def read_rows(path: Path, num_rows: int) -> np.ndarray:
    """int64 [m], rows of a gallery of `num_rows`."""
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    if rows.dtype != np.int64 or rows.ndim != 1 or not ((rows >= 0) & (rows < num_rows)).all():
        raise InputError(f"{path}: {rows.dtype} {list(rows.shape)}, expected int64 rows from 0 to {num_rows - 1}")
    return rows


def _read_array(path: Path, num_rows: int) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    if array.dtype != np.float32 or array.ndim != 2 or len(array) != num_rows:
        raise InputError(f"{path}: {array.dtype} {list(array.shape)}, expected float32 [{num_rows}, size]")
    return array
