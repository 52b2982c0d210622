"""Experts as canonical correlations: two linear maps into one space, fitted in closed form, shrunk towards nothing.

A thousand pairs are too few for a network that learns by steps (it overfits first); the solution of a regularised
canonical correlation analysis needs no steps, has no seed, and is the same on every run.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

COMPONENTS = 256  # of each block of features that is wider


class Projection(NamedTuple):
    """A map of rows to unit vectors: unit((x - mean) @ matrix - offset of the row's category).

    Attributes:
      mean: float32 [F]. matrix: float32 [F, D].
      offset: float32 [C + 1, D]; the last row is for categories that training did not know.
    """

    mean: np.ndarray
    matrix: np.ndarray
    offset: np.ndarray

    def __call__(self, rows: np.ndarray, category: np.ndarray) -> np.ndarray:
        """float32 [n, D] of unit length, of float [n, F] and int [n] (-1: another category)."""
        out = (np.asarray(rows, np.float32) - self.mean) @ self.matrix - self.offset[np.asarray(category)]
        return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-6)


class Reduced(NamedTuple):
    """Rows of joined blocks as principal components of about unit size, rows = (x - mean) @ matrix.

    Attributes:
      mean: float64 [F]. matrix: float64 [F, K]. rows: float64 [n, K].
    """

    mean: np.ndarray
    matrix: np.ndarray
    rows: np.ndarray

    def of(self, rows: np.ndarray) -> "Reduced":
        """The same map with some of the rows."""
        return self._replace(rows=self.rows[rows])

    def apply(self, blocks: Sequence[np.ndarray]) -> np.ndarray:
        """float64 [m, K] of other rows, float [m, F_i] each."""
        return (np.concatenate([np.asarray(b, np.float64) for b in blocks], axis=1) - self.mean) @ self.matrix


def reduce_block(block: np.ndarray, *, components: int = COMPONENTS) -> Reduced:
    """Standardises a block, float [n, F], and keeps its first principal components where it is wide.

    Components are scaled by the fourth root of their variance, half way between whitening and nothing.
    """
    block = np.asarray(block, np.float64)
    mean, deviation = block.mean(0), block.std(0) + 1e-3
    rows = (block - mean) / deviation
    if block.shape[1] <= components:
        return Reduced(mean, np.diag(1 / deviation), rows)
    basis = _principal(rows, components)
    size = (rows @ basis).std(0) + 1e-6
    basis = basis / np.sqrt(size * size.mean())
    return Reduced(mean, basis / deviation[:, None], rows @ basis)


def join_reduced(parts: Sequence[Reduced], gains: Sequence[float] | None = None) -> Reduced:
    """Blocks side by side, each with its own map, times its gain: a block of larger numbers is penalised less."""
    gains = gains or [1.0] * len(parts)
    parts = [Reduced(p.mean, p.matrix * g, p.rows * g) for p, g in zip(parts, gains, strict=True)]
    matrix = np.zeros((sum(len(p.mean) for p in parts), sum(p.matrix.shape[1] for p in parts)))
    row = column = 0
    for part in parts:
        height, width = part.matrix.shape
        matrix[row : row + height, column : column + width] = part.matrix
        row, column = row + height, column + width
    return Reduced(np.concatenate([p.mean for p in parts]), matrix, np.concatenate([p.rows for p in parts], axis=1))


def _principal(rows: np.ndarray, components: int) -> np.ndarray:
    """float64 [F, k]: the first right singular vectors, each with its largest entry positive; a fixed random start."""
    from sklearn.utils.extmath import randomized_svd

    count = min(components, *rows.shape)
    basis = randomized_svd(rows, count, n_oversamples=32, n_iter=4, random_state=0)[2].T
    return basis * np.sign(basis[np.abs(basis).argmax(0), np.arange(basis.shape[1])])


def fit_canonical(
    query: Reduced,
    foreground: Reduced,
    group: np.ndarray,
    category: np.ndarray,
    *,
    num_categories: int,
    shrinkage: float,
    size: int,
) -> tuple[Projection, Projection]:
    """Fits the maps of queries and of foregrounds on pairs of a query and its own foreground.

    What a group has in common is taken off both sides first, so that the correlations that are left tell members of one
    group apart: of one pattern where it is known, else of one category. Directions are weighted by rho / (1 - rho^2),
    as in the log-likelihood ratio of "these two belong together" for jointly normal variables.

    Args:
      query, foreground: of n pairs.
      group: int [n], what is compared with each other; groups of one are left out.
      category: int [n], below `num_categories`; -1 for categories that get no offset of their own.
      shrinkage: of both covariances towards a multiple of the identity, relative to their mean variance.
      size: D, directions kept.

    Returns:
      The projections; `offset` holds the categories' mean places.

    Source: decision 34; Vinod, Journal of Econometrics 1976 (canonical ridge); Ioffe, ECCV 2006 (the likelihood ratio).
    """
    groups, count = np.unique(group, return_counts=True)
    use = np.isin(group, groups[count > 1])
    x, y = (_within(side.rows, group)[use] for side in (query, foreground))
    n = len(x)
    whiten_x, whiten_y = (_inverse_root(z.T @ z / n, shrinkage) for z in (x, y))
    left, correlation, right = np.linalg.svd(whiten_x @ (x.T @ y / n) @ whiten_y, full_matrices=False)
    size = min(size, len(correlation))
    rho = np.clip(correlation[:size], 0, 0.999)
    weight = np.sqrt(rho / (1 - rho**2))
    sign = np.sign(left[np.abs(left[:, :size]).argmax(0), np.arange(size)])
    out = []
    for side, end in ((query, whiten_x @ left[:, :size]), (foreground, whiten_y @ right[:size].T)):
        matrix = end * weight * sign
        offset = np.zeros((num_categories + 1, size))
        for c in range(num_categories):
            if (category == c).any():
                offset[c] = (side.rows[category == c] @ matrix).mean(0)
        out.append(Projection(*(a.astype(np.float32) for a in (side.mean, side.matrix @ matrix, offset))))
    return out[0], out[1]


def _within(rows: np.ndarray, group: np.ndarray) -> np.ndarray:
    _, inverse, count = np.unique(group, return_inverse=True, return_counts=True)
    total = np.zeros((len(count), rows.shape[1]))
    np.add.at(total, inverse, rows)
    return rows - (total / count[:, None])[inverse]


def _inverse_root(covariance: np.ndarray, shrinkage: float) -> np.ndarray:
    ridge = shrinkage * np.trace(covariance) / len(covariance)
    values, vectors = np.linalg.eigh(covariance + ridge * np.eye(len(covariance)))
    return (vectors / np.sqrt(np.maximum(values, 1e-12))) @ vectors.T


def scores(
    query: Mapping[str, np.ndarray], foreground: Mapping[str, np.ndarray], weights: Mapping[str, float]
) -> np.ndarray:
    """float32 [q, f]: sum over experts of weight times cosine, of name -> unit vectors [q, D] and [f, D]."""
    vectors = [np.sqrt(np.float32(w)) for w in weights.values()]
    left, right = (
        np.concatenate([w * side[n] for n, w in zip(weights, vectors, strict=True)], 1) for side in (query, foreground)
    )
    return left @ right.T
