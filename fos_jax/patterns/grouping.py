"""Groups of descriptors of one category, more and smaller than patterns, with a confidence each.

Over-segmented on purpose: merging two pure groups is one action of an annotator, splitting a mixed one is many.
"""

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fos_jax.errors import InputError

METHODS = ("agglomerative", "kmeans", "hdbscan")
OUTLIER = -1
# Ward's method on all pairs needs their square in memory; beyond this it sees nearest neighbours only.
_MAX_ALL_PAIRS = 5000
_NEIGHBOURS = 10


@dataclasses.dataclass(frozen=True)
class Grouping:
    """Groups of n rows.

    Attributes:
      group: int64 [n], numbers from 0 without gaps; `OUTLIER` for what resembles nothing.
      confidence: float32 [n] in 0..1: how much closer the row is to its own group than to the next; for outliers 0.
    """

    group: np.ndarray
    confidence: np.ndarray


def default_config() -> ConfigDict:
    """Settings of grouping, chosen on ETH-80 by purity at few groups. Source: decision 22."""
    config = ConfigDict()
    config.method = "agglomerative"
    config.members_per_group = 5.0  # average; with hdbscan the smallest group is a third of it
    config.min_group_size = 2
    config.max_outlier_factor = 1.4  # local outlier factor beyond which a row resembles nothing; hdbscan has its own
    config.components = 48
    config.seed = 0
    config.weights = ConfigDict(
        {"embedding": 1.0, "gradients": 1.0, "shape": 0.5, "truncation": 0.5, "keypoints": 0.7, "viewpoint": 1.0}
    )
    return config.lock()


def combine(blocks: Mapping[str, np.ndarray], weights: Mapping[str, float], *, components: int) -> np.ndarray:
    """One vector per row from several blocks, for rows of one category.

    Each block is centred and scaled to its weight: the mean squared length over the known rows is weight squared,
    however wide it is. Unknown rows (NaN) lie at the block's centre. Principal components keep what varies.

    Args:
      blocks: name -> float [n, width].
      weights: name -> weight.
      components: widest result.

    Returns:
      float32 [n, at most components].
    """
    from sklearn.decomposition import PCA

    parts = []
    for name, block in blocks.items():
        is_known = np.isfinite(block).all(axis=1)
        known = block[is_known].astype(np.float64)
        part = np.zeros(block.shape)
        if known.size:
            centred = known - known.mean(axis=0)
            if name == "shape":  # its numbers have different units
                deviation = centred.std(axis=0)
                centred = np.clip(
                    np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 1e-8), -3, 3
                )
            length = np.sqrt(np.mean(np.sum(centred**2, axis=1)))
            part[is_known] = centred * (weights[name] / length if length > 1e-8 else 0.0)
        parts.append(part)
    features = np.concatenate(parts, axis=1)
    rank = min(*features.shape, components)
    if features.shape[1] > rank and np.any(features):
        features = PCA(
            rank, svd_solver="randomized" if rank < 0.2 * min(features.shape) else "full", random_state=0
        ).fit_transform(features)
    return features.astype(np.float32)


def group_rows(features: np.ndarray, config: Any) -> Grouping:
    """Groups the rows of one category.

    Args:
      features: float32 [n, k], finite.
      config: as `default_config` makes it.

    Raises:
      InputError: an unknown method, or a size that is none.
    """
    if config.method not in METHODS:
        raise InputError(f"method: got {config.method!r}, expected one of {', '.join(METHODS)}")
    if not 1 <= config.members_per_group < float("inf"):
        raise InputError(f"members_per_group: got {config.members_per_group}, expected at least 1")
    n = len(features)
    if n < 3:
        labels = np.full(n, 0 if n >= config.min_group_size else OUTLIER)
        return Grouping(labels.astype(np.int64), (labels >= 0).astype(np.float32))
    certainty = np.ones(n)
    if config.method == "hdbscan":
        labels, certainty = _hdbscan(features, config)
    else:
        # Outliers leave first: each would make a group of its own or drag a centre along.
        labels = np.full(n, OUTLIER)
        inside = np.flatnonzero(_outlier_factors(features) <= config.max_outlier_factor)
        if inside.size:
            labels[inside] = _divide(features[inside], config)
    counts = np.bincount(labels[labels >= 0], minlength=1)
    labels = np.where((labels >= 0) & (counts[np.maximum(labels, 0)] < config.min_group_size), OUTLIER, labels)
    is_inside = labels >= 0
    labels[is_inside] = np.unique(labels[is_inside], return_inverse=True)[1]
    return Grouping(labels.astype(np.int64), (_closeness(features, labels) * certainty).astype(np.float32))


def _divide(features: np.ndarray, config: Any) -> np.ndarray:
    from sklearn.cluster import AgglomerativeClustering, KMeans
    from sklearn.neighbors import kneighbors_graph

    n = len(features)
    distinct = len(np.unique(features, axis=0))
    count = max(1, min(round(n / config.members_per_group), distinct))
    if count == 1:
        return np.zeros(n, np.int64)
    if config.method == "kmeans":
        return KMeans(count, n_init=4, random_state=config.seed).fit_predict(features)
    graph = None
    if n > _MAX_ALL_PAIRS:
        graph = kneighbors_graph(features, _NEIGHBOURS, include_self=False)
    with warnings.catch_warnings():
        # A graph in several parts is completed, which is what is wanted.
        warnings.filterwarnings("ignore", message="the number of connected components", category=UserWarning)
        return AgglomerativeClustering(count, connectivity=graph).fit_predict(features)


def _hdbscan(features: np.ndarray, config: Any) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.cluster import HDBSCAN

    smallest = max(2, config.min_group_size, round(config.members_per_group / 3))
    if len(features) < 2 * smallest:
        return np.zeros(len(features), np.int64), np.ones(len(features))
    # Leaves of the tree, not its most stable branches: over-segmented.
    model = HDBSCAN(min_cluster_size=smallest, min_samples=2, cluster_selection_method="leaf", copy=True)
    labels = model.fit_predict(features.astype(np.float64))
    return np.where(labels < 0, OUTLIER, labels), model.probabilities_


def _outlier_factors(features: np.ndarray) -> np.ndarray:
    from sklearn.neighbors import LocalOutlierFactor

    model = LocalOutlierFactor(min(_NEIGHBOURS, len(features) - 1))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Duplicate values", category=UserWarning)
        model.fit(features)
    return -model.negative_outlier_factor_


def _closeness(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(distance to the next group's centre - distance to the own) / the larger, from 0; 0 for outliers."""
    count = int(labels.max(initial=OUTLIER)) + 1
    is_inside = labels >= 0
    if count < 2:
        return is_inside.astype(np.float64)
    centres = np.stack([features[labels == group].mean(axis=0) for group in range(count)])
    squares = (features**2).sum(1)[:, None] - 2 * features @ centres.T + (centres**2).sum(1)  # [n, groups]
    distances = np.sqrt(np.maximum(squares, 0))
    rows = np.flatnonzero(is_inside)
    own = distances[rows, labels[rows]]
    distances[rows, labels[rows]] = np.inf
    other = distances[rows].min(axis=1)
    result = np.zeros(len(labels))
    larger = np.maximum(np.maximum(own, other), 1e-12)
    result[rows] = np.clip((other - own) / larger, 0, 1)
    return result
