"""Width over height of rectangles and cut-outs, for FOSD's filter."""

import numpy as np

from fos_jax.data.arrays import Queries


def foreground_aspects(image: np.ndarray) -> np.ndarray:
    """float64 [n]: width / height of each cut-out's opaque part, from uint8 [n, S, S, 4]; 1 where nothing is opaque."""
    is_opaque: np.ndarray = np.asarray(image)[..., 3] >= 128  # [n, S, S]
    width = _extent(np.asarray(is_opaque.any(axis=1)))
    height = _extent(np.asarray(is_opaque.any(axis=2)))
    return np.where((width > 0) & (height > 0), width / np.maximum(height, 1), 1.0)


def _extent(line: np.ndarray) -> np.ndarray:
    """int [n]: from the first true entry of each row of bool [n, S] to the last one, 0 where there is none."""
    size = line.shape[1]
    return np.where(line.any(axis=1), size - line[:, ::-1].argmax(axis=1) - line.argmax(axis=1), 0)


def box_aspects(queries: Queries) -> np.ndarray:
    """float64 [n]: width / height of each query's rectangle; query images are square, so fractions do."""
    y0, x0, y1, x1 = np.asarray(queries.box_yxyx_norm, np.float64).T
    return (x1 - x0) / np.maximum(y1 - y0, 1e-9)
