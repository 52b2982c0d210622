"""Labels spread from verified members to proposals for all others, by descriptors kept beside the store."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.files import published_file
from fos_jax.patterns.descriptors import describe
from fos_jax.patterns.grouping import combine, default_config

BLOCKS = ("gradients", "shape", "truncation")


class Descriptors:
    """Descriptors of n cut-outs, comparable within a category.

    Attributes:
      rows: category -> int64 [m], numbers of its cut-outs, ascending.
      values: category -> float32 [m, k], in that order.
    """

    def __init__(self, categories: Sequence[str], values: Mapping[str, np.ndarray]):
        names = np.array(categories, object)
        self.rows = {category: np.flatnonzero(names == category) for category in sorted(set(categories))}
        self.values = dict(values)

    @classmethod
    def combined(
        cls,
        categories: Sequence[str],
        blocks: Mapping[str, np.ndarray],
        *,
        weights: Mapping[str, float] | None = None,
        components: int = 48,
    ) -> "Descriptors":
        """From blocks of descriptors [n, width], as for grouping; weights of `grouping.default_config` by default."""
        result = cls(categories, {})
        weights = default_config().weights if weights is None else weights
        for category, rows in result.rows.items():
            parts = {name: block[rows] for name, block in blocks.items()}
            result.values[category] = combine(parts, weights, components=components)
        return result


def read_or_describe(
    path: str | Path,
    cutouts: CutoutSet,
    blocks: Sequence[str] = BLOCKS,
    *,
    make: Callable[[], Mapping[str, np.ndarray]] | None = None,
) -> dict[str, np.ndarray]:
    """Blocks of descriptors, [n, width] each: read from `path` where they are of these cut-outs, else made and kept.

    Args:
      path: an .npz file.
      cutouts: n of them.
      blocks: names, as in `descriptors.BLOCKS`.
      make: computes them; `descriptors.describe` by default.
    """
    path = Path(path)
    key = f"{cutouts.fingerprint} {' '.join(blocks)}"
    try:
        with np.load(path, allow_pickle=False) as stored:
            if str(stored["key"]) == key:
                return {name: stored[name] for name in blocks}
    except (OSError, ValueError, KeyError, EOFError):
        pass  # absent, torn or of something else: made anew
    found = dict(make() if make else describe(cutouts, list(blocks)))
    with published_file(path) as aside, aside.open("wb") as file:
        np.savez(file, key=np.array(key), **found)  # type: ignore[arg-type]
    return found


UNLABELLED = -1


@dataclasses.dataclass(frozen=True)
class Spread:
    """What the classifier says of n rows.

    Attributes:
      label: int64 [n], one of the given labels for every row.
      certainty: float32 [n]: probability of the label minus that of the next, 0..1; 1 where there is one label only.
    """

    label: np.ndarray
    certainty: np.ndarray


def spread_labels(
    features: np.ndarray, labels: np.ndarray, *, inverse_regularisation: float = 10.0, neighbours: int = 5
) -> Spread | None:
    """Learns the labelled rows of one category and labels all rows.

    Args:
      features: float32 [n, k], as `grouping.combine` makes them.
      labels: int64 [n], `UNLABELLED` (-1) where unknown.
      inverse_regularisation: C of the logistic regression.
      neighbours: labelled rows whose labels vote beside it, weighted by closeness.

    Returns:
      Labels for all rows, or None where no row is labelled. Labelled rows keep theirs.

    The mean of a multinomial logistic regression (learns which directions matter) and of nearest neighbours (follows
    patterns that are no convex cluster), both from scikit-learn. Source: decision 23.
    """
    is_labelled = labels != UNLABELLED
    if not is_labelled.any():
        return None
    known, code = np.unique(labels[is_labelled], return_inverse=True)
    if len(known) == 1:
        return Spread(np.full(len(labels), known[0]), np.ones(len(labels), np.float32))
    scale = max(float(np.sqrt(np.mean(features**2) * features.shape[1])), 1e-12)
    scaled = (features / scale * 4).astype(np.float64)
    with threadpool_limits(1):  # the matrices are small: threads that wait for each other cost ten times the work
        probability = (
            _regression(scaled[is_labelled], code, scaled, inverse_regularisation)
            + _neighbours(scaled[is_labelled], code, scaled, len(known), neighbours)
        ) / 2
    order = np.partition(probability, -2, axis=1)
    label = known[probability.argmax(axis=1)]
    certainty = order[:, -1] - order[:, -2]
    label[is_labelled], certainty[is_labelled] = labels[is_labelled], 1.0
    return Spread(label.astype(np.int64), np.clip(certainty, 0, 1).astype(np.float32))


def nearest_groups(centres: np.ndarray, index: int, count: int) -> list[int]:
    """Rows of float [groups, k] nearest to row `index`, the nearest first, without it."""
    distances = np.linalg.norm(centres - centres[index], axis=1)
    distances[index] = np.inf
    order = np.argsort(distances, kind="stable")[: min(count, len(centres) - 1)]
    return [int(row) for row in order]


def _regression(x: np.ndarray, code: np.ndarray, rows: np.ndarray, strength: float) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, max_iter=1000, tol=1e-3)
    return model.fit(x, code).predict_proba(rows)


def _neighbours(x: np.ndarray, code: np.ndarray, rows: np.ndarray, classes: int, count: int) -> np.ndarray:
    from sklearn.neighbors import NearestNeighbors

    distance, index = NearestNeighbors(n_neighbors=min(count, len(x))).fit(x).kneighbors(rows)  # [n, count]
    # Relative to the nearest, so that far rows are told apart as sharply as near ones.
    weight = np.exp(-4 * (distance / np.maximum(distance[:, :1], 1e-9) - 1).clip(0, 20))
    votes = np.zeros((len(rows), classes))
    np.add.at(votes, (np.arange(len(rows))[:, None], code[index]), weight)
    return votes / votes.sum(axis=1, keepdims=True)
