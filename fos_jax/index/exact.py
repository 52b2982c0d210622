"""Exact search, and what all indexes share: their interface, checks, and the k highest scores."""

from typing import Protocol

import numpy as np

from fos_jax.errors import InputError

_BLOCK = 32_768  # rows whose scores are held at once


class Index(Protocol):
    """Rows of float32 [n, d], found by their inner product with a query."""

    def __len__(self) -> int: ...

    def search(
        self, vectors: np.ndarray, k: int, *, allowed: np.ndarray | None = None, is_checked: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k rows of highest inner product with each query.

        Args:
          vectors: float32 [q, d], finite.
          k: how many.
          allowed: bool [n], the rows that may come; None for all.
          is_checked: the vectors are known to be as said, and are not read to see.

        Returns:
          float32 scores [q, k], highest first, ties by row, and int64 rows [q, k]. Exactly as many come as are allowed,
          k at most; the rest is -inf and row -1.

        Raises:
          InputError: queries that are not finite or of another size, or a mask of other rows.
        """
        ...


def check_vectors(vectors: np.ndarray, *, where: str = "vectors") -> np.ndarray:
    """float32 [n, d], finite; ScaNN's tree build dies with the process on a NaN, and exact search ranks it anyhow.

    Raises:
      InputError: another number of dimensions, or a row that is not finite (the first is named).
    """
    vectors = np.ascontiguousarray(vectors, np.float32)
    if vectors.ndim != 2:
        raise InputError(f"{where}: got shape {list(vectors.shape)}, expected [rows, size]")
    for start in range(0, len(vectors), _BLOCK):  # in blocks: a mapped file need not fit into memory
        if not np.isfinite(vectors[start : start + _BLOCK]).all():
            bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
            raise InputError(f"{where}: {len(bad)} of {len(vectors)} rows are not finite, the first is row {bad[0]}")
    return vectors


def check_queries(vectors: np.ndarray, size: int) -> np.ndarray:
    """float32 [q, size], finite; `InputError` otherwise."""
    vectors = check_vectors(vectors, where="query vectors")
    if vectors.shape[1] != size:
        raise InputError(f"query vectors: got size {vectors.shape[1]}, expected {size}")
    return vectors


def check_allowed(allowed: np.ndarray, num_rows: int) -> np.ndarray:
    """bool [num_rows]; `InputError` otherwise."""
    if allowed.dtype != bool or allowed.shape != (num_rows,):
        raise InputError(f"allowed: got {allowed.dtype} {list(allowed.shape)}, expected bool [{num_rows}]")
    return allowed


def no_answers(num_queries: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores -inf and rows -1, [q, k]."""
    return np.full((num_queries, k), -np.inf, np.float32), np.full((num_queries, k), -1, np.int64)


def top_k(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k highest of float32 [q, n] as scores and columns [q, k], ties by column; padded with -inf and -1.

    Columns with score -inf are no answers.
    """
    num_queries, n = scores.shape
    found = min(k, n)
    out_scores, out_columns = no_answers(num_queries, k)
    for query, own in enumerate(scores):
        columns = np.arange(n)
        if 0 < found < n:
            kth = np.partition(own, n - found)[n - found]
            above, at = np.flatnonzero(own > kth), np.flatnonzero(own == kth)
            columns = np.concatenate([above, at[: found - len(above)]])
        best = columns[np.argsort(-own[columns], kind="stable")][:found]
        out_scores[query, :found], out_columns[query, :found] = own[best], best
    out_columns[np.isneginf(out_scores)] = -1
    return out_scores, out_columns


class ExactIndex:
    """Every inner product; the oracle, and the way to search small or filtered sets."""

    def __init__(self, vectors: np.ndarray, *, where: str = "vectors", is_checked: bool = False):
        """Keeps float32 [n, d] (n may be 0), which may be mapped from a file; `InputError` as `check_vectors`.

        Args:
          is_checked: the vectors were checked before, and are not read now.
        """
        checked = vectors if is_checked else check_vectors(vectors, where=where)
        self.vectors = np.asarray(checked)  # taking rows of a mapped file is slower by NumPy's own class for such

    def __len__(self) -> int:
        return len(self.vectors)

    def search(
        self,
        vectors: np.ndarray,
        k: int,
        *,
        allowed: np.ndarray | None = None,
        among: np.ndarray | None = None,
        is_checked: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Index`; `among` are the rows that may come by number, int64 [m] ascending, in place of `allowed`."""
        queries = vectors if is_checked else check_queries(vectors, self.vectors.shape[1])
        rows = among if allowed is None else np.flatnonzero(check_allowed(allowed, len(self)))
        n = len(self) if rows is None else len(rows)
        scores, places = no_answers(len(queries), k)
        for start in range(0, n, _BLOCK):
            part = slice(start, start + _BLOCK)
            # Taking rows is twice as fast as NumPy's fancy indexing.
            block = self.vectors[part] if rows is None else self.vectors.take(rows[part], axis=0)
            of_block = (block @ queries[0])[None] if len(queries) == 1 else queries @ block.T  # [q, b]
            for query, own in enumerate(of_block if k else ()):
                above = np.flatnonzero(own > scores[query, -1])  # later rows lose ties
                if len(above):
                    both = np.concatenate([scores[query], own[above]])[None]
                    best, columns = top_k(both, k)
                    scores[query] = best[0]
                    places[query] = np.concatenate([places[query], start + above])[columns[0]]
        places[np.isneginf(scores)] = -1
        return scores, places if rows is None or not n else np.where(places < 0, -1, rows[places])
