"""Indexes that retrieval.py compares: how each is built, its settings, and how it is searched."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

K = 20


class Method(NamedTuple):
    """A way to search.

    Attributes:
      needs: package.
      build: (rows, ranking, folder, recall) -> the index, ready to search.
      settings: (index, number of rows) -> from fast to thorough.
      search: (index, setting, queries) -> rows [q, K].
    """

    needs: str
    build: Callable[[np.ndarray, str, Path, float], Any]
    settings: Callable[[Any, int], list[Any]]
    search: Callable[[Any, Any, np.ndarray], np.ndarray]


def _ours(rows: np.ndarray, ranking: Any, folder: Path, recall: float) -> Any:
    from fos_jax.index.build import build_index, open_index

    build_index(rows, folder, ranking=ranking, target_recall=recall)
    return open_index(folder, rows)


def _scann(rows: np.ndarray, ranking: str, folder: Path, recall: float) -> Any:
    from scann.scann_ops.py import scann_ops_pybind

    leaves = round(len(rows) ** 0.5)
    tree = scann_ops_pybind.builder(rows, K, "dot_product").tree(leaves, leaves // 10, training_sample_size=250_000)
    return tree.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(100).build()


def _scann_leaves(rows: np.ndarray, ranking: str, folder: Path, recall: float) -> Any:
    from scann.scann_ops.py import scann_ops_pybind

    leaves = round(len(rows) ** 0.5)
    tree = scann_ops_pybind.builder(rows, K, "dot_product").tree(leaves, leaves // 10, training_sample_size=250_000)
    return tree.score_brute_force().build()


def _search_scann(index: Any, setting: tuple[int, int], queries: np.ndarray) -> np.ndarray:
    if len(queries) == 1:
        return np.asarray(index.search(queries[0], K, setting[1], setting[0])[0])[None]
    return np.asarray(index.search_batched_parallel(queries, K, setting[1], setting[0])[0])


def _ivf(rows: np.ndarray, ranking: str, folder: Path, recall: float) -> Any:
    import faiss

    leaves, size = round(len(rows) ** 0.5), rows.shape[1]
    index = faiss.index_factory(size, f"IVF{leaves},PQ{size // 2}x4fs,RFlat", faiss.METRIC_INNER_PRODUCT)
    index.train(rows[:: max(1, len(rows) // 100_000)])
    index.add(rows)
    return index


def _search_ivf(index: Any, setting: tuple[int, float], queries: np.ndarray) -> np.ndarray:
    import faiss

    index.k_factor = setting[1]
    faiss.extract_index_ivf(index).nprobe = setting[0]
    return index.search(queries, K)[1]


def _faiss_hnsw(rows: np.ndarray, ranking: str, folder: Path, recall: float) -> Any:
    import faiss

    index = faiss.IndexHNSWFlat(rows.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 100
    index.add(rows)
    return index


def _search_faiss_hnsw(index: Any, setting: int, queries: np.ndarray) -> np.ndarray:
    index.hnsw.efSearch = setting
    return index.search(queries, K)[1]


def _hnswlib(rows: np.ndarray, ranking: str, folder: Path, recall: float) -> Any:
    import hnswlib

    index = hnswlib.Index("ip", rows.shape[1])
    index.init_index(len(rows), M=16, ef_construction=100)
    index.add_items(rows)
    return index


def _search_hnswlib(index: Any, setting: int, queries: np.ndarray) -> np.ndarray:
    index.set_ef(setting)
    return index.knn_query(queries, K)[0].astype(np.int64)


def _flat(rows: np.ndarray, ranking: str, folder: Path, recall: float) -> Any:
    import faiss

    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    return index


def _numpy(rows: np.ndarray, ranking: str, folder: Path, recall: float) -> Any:
    return np.array(rows)


def _search_numpy(index: np.ndarray, setting: None, queries: np.ndarray) -> np.ndarray:
    scores = queries @ index.T
    best = np.argpartition(-scores, K, axis=1)[:, :K]
    return np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), axis=1), 1)


_LEAVES = (2, 4, 8, 12, 18, 27, 40, 60, 100, 200)
_GRAPH = (20, 40, 80, 120, 200, 400, 800)
METHODS = {
    "ours": Method("scann", _ours, lambda index, n: ["as built"], lambda index, setting, q: index.search(q, K)[1]),
    "scann": Method(
        "scann", _scann, lambda index, n: [(a, b) for a in _LEAVES for b in (100, 200, 400, 1500)], _search_scann
    ),
    "scann_leaves": Method("scann", _scann_leaves, lambda index, n: [(a, -1) for a in (1, *_LEAVES)], _search_scann),
    "faiss_ivfpq": Method(
        "faiss", _ivf, lambda index, n: [(a, b) for a in _LEAVES for b in (20, 80, 320)], _search_ivf
    ),
    "faiss_hnsw": Method("faiss", _faiss_hnsw, lambda index, n: [*_GRAPH], _search_faiss_hnsw),
    "hnswlib": Method("hnswlib", _hnswlib, lambda index, n: [*_GRAPH], _search_hnswlib),
    "faiss_flat": Method("faiss", _flat, lambda index, n: [None], lambda index, setting, q: index.search(q, K)[1]),
    "numpy": Method("numpy", _numpy, lambda index, n: [None], _search_numpy),
}
