"""Descriptors of the cut-outs that verification spreads labels by, made once and kept beside the store."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.files import published_file
from fos_jax.patterns.descriptors import describe
from fos_jax.patterns.grouping import combine, default_config

BLOCKS = ("gradients", "shape", "truncation")


class Features:
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
    ) -> "Features":
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
