"""Indexes that retrieval.py compares: how each is built, its settings, and how it is searched."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

K = 20
EMBEDDING_SIZE = 128


class Method(NamedTuple):
    """A way to search.

    Attributes:
      needs: package.
      build: (rows, ranking, folder, recall, tuning queries) writes the index into an empty folder.
      load: (rows, folder) -> the index, ready to search.
      settings: from fast to thorough.
      search: (index, setting, queries) -> rows [q, K].
    """

    needs: str
    build: Callable[[np.ndarray, str, Path, float, np.ndarray], Any]
    load: Callable[[np.ndarray, Path], Any]
    settings: list[Any]
    search: Callable[[Any, Any, np.ndarray], np.ndarray]


def _ours(
    rows: np.ndarray, ranking: Any, folder: Path, recall: float, tuning: np.ndarray, *, is_told: bool = False
) -> None:
    from fos_jax.index.build import build_index

    experts: dict[str, Any] = {}
    if ranking == "combined":
        ranking, experts = "posterior", {"expert_sizes": [EMBEDDING_SIZE], "expert_weights": [1.0]}
    build_index(rows, folder, ranking=ranking, target_recall=recall, queries=tuning if is_told else None, **experts)


def _load_ours(rows: np.ndarray, folder: Path) -> Any:
    from fos_jax.index.build import open_index

    return open_index(folder, rows)


def _tree(rows: np.ndarray) -> Any:
    from scann.scann_ops.py import scann_ops_pybind

    leaves = round(len(rows) ** 0.5)
    return scann_ops_pybind.builder(rows, K, "dot_product").tree(leaves, leaves // 10, training_sample_size=250_000)


def _scann(rows: np.ndarray, ranking: str, folder: Path, recall: float, tuning: np.ndarray) -> None:
    codes = _tree(rows).score_ah(2, anisotropic_quantization_threshold=0.2).reorder(100)
    codes.build().serialize(str(folder), relative_path=True)


def _scann_leaves(rows: np.ndarray, ranking: str, folder: Path, recall: float, tuning: np.ndarray) -> None:
    _tree(rows).score_brute_force().build().serialize(str(folder), relative_path=True)


def _load_scann(rows: np.ndarray, folder: Path) -> Any:
    from scann.scann_ops.py import scann_ops_pybind

    index = scann_ops_pybind.load_searcher(str(folder), assets_backcompat_shim=False)
    index.searcher.set_num_threads(len(os.sched_getaffinity(0)))
    return index


def _search_scann(index: Any, setting: tuple[int, int], queries: np.ndarray) -> np.ndarray:
    if len(queries) == 1:
        return np.asarray(index.search(queries[0], K, setting[1], setting[0])[0])[None]
    return np.asarray(index.search_batched_parallel(queries, K, setting[1], setting[0])[0])


def _ivf(rows: np.ndarray, ranking: str, folder: Path, recall: float, tuning: np.ndarray) -> None:
    import faiss

    leaves, size = round(len(rows) ** 0.5), rows.shape[1]
    index = faiss.index_factory(size, f"IVF{leaves},PQ{size // 2}x4fs,RFlat", faiss.METRIC_INNER_PRODUCT)
    index.train(rows[:: max(1, len(rows) // 100_000)])
    index.add(rows)
    faiss.write_index(index, str(folder / "faiss"))


def _load_faiss(rows: np.ndarray, folder: Path) -> Any:
    import faiss

    return faiss.read_index(str(folder / "faiss"))


def _search_ivf(index: Any, setting: tuple[int, float], queries: np.ndarray) -> np.ndarray:
    import faiss

    index.k_factor = setting[1]
    faiss.extract_index_ivf(index).nprobe = setting[0]
    return index.search(queries, K)[1]


def _faiss_hnsw(rows: np.ndarray, ranking: str, folder: Path, recall: float, tuning: np.ndarray) -> None:
    import faiss

    index = faiss.IndexHNSWFlat(rows.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 100
    index.add(rows)
    faiss.write_index(index, str(folder / "faiss"))


def _search_faiss_hnsw(index: Any, setting: int, queries: np.ndarray) -> np.ndarray:
    index.hnsw.efSearch = setting
    return index.search(queries, K)[1]


def _hnswlib(rows: np.ndarray, ranking: str, folder: Path, recall: float, tuning: np.ndarray) -> None:
    import hnswlib

    index = hnswlib.Index("ip", rows.shape[1])
    index.init_index(len(rows), M=16, ef_construction=100)
    index.add_items(rows)
    index.save_index(str(folder / "hnswlib"))


def _load_hnswlib(rows: np.ndarray, folder: Path) -> Any:
    import hnswlib

    index = hnswlib.Index("ip", rows.shape[1])
    index.load_index(str(folder / "hnswlib"), max_elements=len(rows))
    return index


def _search_hnswlib(index: Any, setting: int, queries: np.ndarray) -> np.ndarray:
    index.set_ef(setting)
    return index.knn_query(queries, K)[0].astype(np.int64)


def _load_flat(rows: np.ndarray, folder: Path) -> Any:
    import faiss

    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    return index


def _nothing(rows: np.ndarray, ranking: str, folder: Path, recall: float, tuning: np.ndarray) -> None:
    """Exact search needs no index."""


def _search(index: Any, setting: None, queries: np.ndarray) -> np.ndarray:
    return index.search(queries, K)[1]


def _search_numpy(index: np.ndarray, setting: None, queries: np.ndarray) -> np.ndarray:
    scores = queries @ index.T
    best = np.argpartition(-scores, K, axis=1)[:, :K]
    return np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), axis=1), 1)


_LEAVES = (2, 4, 8, 12, 18, 27, 40, 60, 100, 200, 316)
_CODES = [(leaves, rows) for leaves in _LEAVES for rows in (100, 200, 400, 800, 1500)]
_REFINED = [(leaves, factor) for leaves in _LEAVES for factor in (20, 80, 320, 1280)]  # of K rows
_GRAPH = [20, 40, 80, 120, 200, 400, 800, 1600, 3200]
METHODS = {
    "ours": Method("scann", functools.partial(_ours, is_told=True), _load_ours, ["as built"], _search),
    "ours_untold": Method("scann", _ours, _load_ours, ["as built"], _search),
    "scann": Method("scann", _scann, _load_scann, _CODES, _search_scann),
    "scann_leaves": Method("scann", _scann_leaves, _load_scann, [(a, -1) for a in (1, *_LEAVES)], _search_scann),
    "faiss_ivfpq": Method("faiss", _ivf, _load_faiss, _REFINED, _search_ivf),
    "faiss_hnsw": Method("faiss", _faiss_hnsw, _load_faiss, _GRAPH, _search_faiss_hnsw),
    "hnswlib": Method("hnswlib", _hnswlib, _load_hnswlib, _GRAPH, _search_hnswlib),
    "faiss_flat": Method("faiss", _nothing, _load_flat, [None], _search),
    "numpy": Method("numpy", _nothing, lambda rows, folder: np.array(rows), [None], _search_numpy),
}
