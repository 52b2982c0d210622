"""Maximum inner product search over the vectors of one category: exact, and ScaNN where its size pays.

Both indexes answer alike: `search(vectors [q, d], k)` gives float32 scores [q, k], highest first, and int64 rows
[q, k]; where there are fewer than k answers the rest is row -1 with score -inf. The same indexes serve both rankings:
unit embeddings (cosine) and pattern posteriors (sum over patterns of p(p|q) p(p|f)).
"""

import json
import math
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fos_jax.errors import InputError

# Below this, ScaNN's own documentation advises exact search; a tree over few points only loses answers.
SCANN_MIN_ROWS = 20_000
# Candidates whose exact inner product decides: at least so many, and this share of all. Posteriors crowd near one-hot
# vectors, where codes cannot tell thousands apart: of 100,000, reordering 300 found .45 of the best ten, 3,000 all.
_MIN_REORDERED = 300
_REORDERED_SHARE = 0.03


class Index(Protocol):
    """What both indexes can do."""

    def __len__(self) -> int: ...

    def search(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]: ...


def check_vectors(vectors: np.ndarray, *, where: str = "vectors") -> np.ndarray:
    """float32 [n, d], finite; ScaNN's tree build dies with the process on a NaN, and exact search ranks it anyhow.

    Raises:
      InputError: another number of dimensions, or a row that is not finite (the first is named).
    """
    vectors = np.ascontiguousarray(vectors, np.float32)
    if vectors.ndim != 2:
        raise InputError(f"{where}: got shape {list(vectors.shape)}, expected [rows, size]")
    is_finite = np.isfinite(vectors).all(axis=1)
    if not is_finite.all():
        bad = np.flatnonzero(~is_finite)
        raise InputError(f"{where}: {len(bad)} of {len(vectors)} rows are not finite, the first is row {bad[0]}")
    return vectors


def top_k(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k highest of float32 [q, n] as scores and columns [q, k], ties by column; padded with -inf and -1.

    Columns with score -inf are no answers.
    """
    num_queries, n = scores.shape
    found = min(k, n)
    columns = np.broadcast_to(np.arange(n), scores.shape)
    if found < n:
        columns = np.argpartition(-scores, found - 1, axis=1)[:, :found] if found else columns[:, :0]
        columns = np.sort(columns, axis=1)  # so that the stable sort below breaks ties by column
    order = np.argsort(-np.take_along_axis(scores, columns, 1), axis=1, kind="stable")
    columns = np.take_along_axis(columns, order, 1)
    out_scores = np.full((num_queries, k), -np.inf, np.float32)
    out_rows = np.full((num_queries, k), -1, np.int64)
    out_scores[:, :found] = np.take_along_axis(scores, columns, 1)
    out_rows[:, :found] = columns
    out_rows[np.isneginf(out_scores)] = -1
    return out_scores, out_rows


class ExactIndex:
    """Every inner product; the oracle, and the way to search small or filtered sets."""

    def __init__(self, vectors: np.ndarray, *, where: str = "vectors"):
        """Keeps float32 [n, d] (n may be 0); `InputError` as `check_vectors`."""
        self.vectors = check_vectors(vectors, where=where)

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """See the module; memory is [q, n] scores."""
        return top_k(_check_query(vectors, self.vectors.shape[1]) @ self.vectors.T, k)


class ScannIndex:
    """ScaNN's tree, asymmetric hashing and exact reordering; Linux only."""

    def __init__(self, searcher: Any, num_rows: int, size: int, num_leaves: int, searched_share: float):
        self._searcher, self._num_rows, self._size = searcher, num_rows, size
        self._num_leaves, self._searched_share = num_leaves, searched_share

    def __len__(self) -> int:
        return self._num_rows

    @classmethod
    def build(
        cls,
        vectors: np.ndarray,
        *,
        num_leaves: int | None = None,
        searched_share: float = 0.1,
        where: str = "vectors",
    ) -> "ScannIndex":
        """Trains an index over float32 [n, d].

        Args:
          num_leaves: partitions, by default the square root of n.
          searched_share: share of the partitions that a search visits; more where many answers are wanted.
          where: what messages call the vectors.

        Raises:
          InputError: rows that are not finite, or fewer rows than partitions.

        Source: documentation of ScaNN (tree with asymmetric hashing, 2 dimensions a block; partitions ~ sqrt(n)).
        """
        from scann.scann_ops.py import scann_ops_pybind

        vectors = check_vectors(vectors, where=where)
        n, size = vectors.shape
        leaves = num_leaves or max(1, math.isqrt(n))
        if n < max(leaves, 256):  # hashing trains 16 centres a block, and a tree needs a point a leaf
            raise InputError(f"{where}: {n} rows are too few for ScaNN, expected at least {max(leaves, 256)}")
        searcher = (
            scann_ops_pybind.builder(vectors, min(10, n), "dot_product")
            .tree(num_leaves=leaves, num_leaves_to_search=leaves, training_sample_size=min(n, 250_000))
            .score_ah(2, anisotropic_quantization_threshold=0.2)
            .reorder(min(_MIN_REORDERED, n))
            .build()
        )
        return cls(searcher, n, size, leaves, searched_share)

    def save(self, path: str | Path) -> None:
        """Writes the index into a new folder that may be moved afterwards."""
        Path(path).mkdir(parents=True)  # serialize wants it to exist
        self._searcher.serialize(str(path), relative_path=True)
        settings = {
            "num_rows": self._num_rows,
            "size": self._size,
            "num_leaves": self._num_leaves,
            "searched_share": self._searched_share,
        }
        (Path(path) / "index.json").write_text(json.dumps(settings), "utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "ScannIndex":
        """Opens what `save` wrote; `InputError` where that is missing, damaged, or would run foreign code."""
        from scann.scann_ops.py import scann_ops_pybind

        path = Path(path)
        for name in ("index.json", "scann_assets.pbtxt"):
            if not (path / name).is_file():
                raise InputError(f"{path}: no ScaNN index ({name} is missing)")
        if (path / "scann_docids.pkl").exists():  # ScaNN would unpickle it: that runs whatever it holds
            raise InputError(f"{path}: holds scann_docids.pkl, which no gallery of ours has; not opened")
        try:
            searcher = scann_ops_pybind.load_searcher(str(path), assets_backcompat_shim=False)
            index = cls(searcher, **json.loads((path / "index.json").read_bytes()))
        except (ValueError, TypeError, RuntimeError, OSError) as error:
            raise InputError(f"{path}: the ScaNN index cannot be opened ({' '.join(str(error).split())})") from None
        if searcher.size() != len(index):
            raise InputError(f"{path}: the ScaNN index holds {searcher.size()} rows, index.json says {len(index)}")
        return index

    def search(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """See the module; approximate in which rows come, exact in their scores."""
        vectors = _check_query(vectors, self._size)
        num_queries = len(vectors)
        found = min(k, self._num_rows)
        out_scores = np.full((num_queries, k), -np.inf, np.float32)
        out_rows = np.full((num_queries, k), -1, np.int64)
        if not num_queries or not found:  # ScaNN raises on an empty batch
            return out_scores, out_rows
        # Enough partitions to hold several times what is wanted, if they were of one size.
        share = min(1.0, max(self._searched_share, 5 * found / self._num_rows))
        scores, rows = self._search_partitions(vectors, found, max(1, math.ceil(share * self._num_leaves)))
        is_short = (rows < 0).any(axis=1)
        if is_short.any():  # they were not: partitions may even be empty where many vectors are equal
            scores[is_short], rows[is_short] = self._search_partitions(vectors[is_short], found, self._num_leaves)
        out_scores[:, :found], out_rows[:, :found] = scores, rows
        return out_scores, out_rows

    def _search_partitions(self, vectors: np.ndarray, found: int, num_partitions: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores and rows [q, found]; what ScaNN fills up with row 0 and NaN becomes -1 and -inf."""
        rows, scores = self._searcher.search_batched(
            vectors,
            final_num_neighbors=found,
            pre_reorder_num_neighbors=min(
                self._num_rows, max(_MIN_REORDERED, 10 * found, int(_REORDERED_SHARE * self._num_rows))
            ),
            leaves_to_search=num_partitions,
        )
        rows, scores = np.asarray(rows, np.int64), np.asarray(scores, np.float32)
        missing = ((0, 0), (0, found - rows.shape[1]))  # none so far, but nothing promises it
        rows, scores = np.pad(rows, missing, constant_values=-1), np.pad(scores, missing, constant_values=np.nan)
        is_padding = ~np.isfinite(scores)
        return np.where(is_padding, np.float32(-np.inf), scores), np.where(is_padding, -1, rows)


def _check_query(vectors: np.ndarray, size: int) -> np.ndarray:
    vectors = check_vectors(vectors, where="query vectors")
    if vectors.shape[1] != size:
        raise InputError(f"query vectors: got size {vectors.shape[1]}, expected {size}")
    return vectors
