"""Search of one category's vectors under an allow-list: the one place that knows which index a segment has.

An index answers `search(vector [d], k, allowed=bool [n] or None)` with float32 scores and int64 rows, highest score
first and exactly k of them where so many are allowed.
"""

import math
from pathlib import Path
from typing import Protocol

import numpy as np

INDEX_MIN_ROWS = 20_000  # below, exact search is as fast
_EXACT_SHARE = 0.05  # where fewer are allowed, they are searched exactly
_SPARE = 1.5  # times as many candidates as the allowed share asks for


class Index(Protocol):
    """What search needs of an index."""

    def search(
        self, vector: np.ndarray, k: int, *, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]: ...


class Exact:
    """Every inner product; the vectors may be mapped."""

    def __init__(self, vectors: np.ndarray):
        """Keeps float32 [n, d]; n may be 0."""
        self.vectors = vectors

    def search(self, vector: np.ndarray, k: int, *, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """See the module; ties by row."""
        if allowed is None:
            return best(self.vectors @ vector, None, k)
        rows = np.flatnonzero(allowed)
        if 2 * len(rows) < len(self.vectors):
            return best(self.vectors[rows] @ vector, rows, k)
        return best((self.vectors @ vector)[rows], rows, k)


class Approximate:
    """A segment's ScaNN index, asked for more where not all its answers are allowed."""

    def __init__(self, folder: Path, vectors: np.ndarray):
        from fos_jax.retrieval.index import ScannIndex

        self._scann, self._exact = ScannIndex.load(folder), Exact(vectors)

    def search(self, vector: np.ndarray, k: int, *, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """See the module."""
        n = len(self._exact.vectors)
        num_allowed = n if allowed is None else int(np.count_nonzero(allowed))
        wanted = min(k, num_allowed)
        if num_allowed < _EXACT_SHARE * n or not wanted:
            return self._exact.search(vector, k, allowed=allowed)
        asked = wanted if num_allowed == n else min(n, math.ceil(_SPARE * wanted * n / num_allowed) + 10)
        scores, rows = (of[0] for of in self._scann.search(vector[None], asked))
        found = rows >= 0
        if allowed is not None:
            found &= allowed[rows]
        if found.sum() < wanted:
            return self._exact.search(vector, k, allowed=allowed)
        return scores[found][:wanted], rows[found][:wanted]


def build_index(vectors: np.ndarray, folder: Path, *, where: str) -> None:
    """Writes the index of float32 [n, d] into a new folder; `where` names them in messages."""
    from fos_jax.retrieval.index import ScannIndex

    ScannIndex.build(vectors, where=where).save(folder)
    ScannIndex.load(folder)  # ScaNN does not say so when a disk was full


def open_index(folder: Path, vectors: np.ndarray) -> Index:
    """The index in a folder; exact search where there is none.

    Raises:
      InputError: a damaged index, or one of other vectors.
    """
    return Approximate(folder, vectors) if folder.is_dir() else Exact(vectors)


def best(scores: np.ndarray, rows: np.ndarray | None, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k highest of float32 [n] with their rows (int64 [n], by default their places), highest first, ties by row."""
    if k < len(scores):
        chosen = np.sort(np.argpartition(-scores, k - 1)[:k]) if k else np.zeros(0, np.int64)
        chosen = chosen[np.argsort(-scores[chosen], kind="stable")]
    else:
        chosen = np.argsort(-scores, kind="stable")
    return scores[chosen], chosen if rows is None else rows[chosen]
