"""A map of the latent space: foregrounds and queries of a category in two dimensions."""

import numpy as np

from fos_jax.pattern_table import PatternTable
from fos_jax.report.contents import MapPanel


def flatten_to_plane(embedding: np.ndarray, *, seed: int = 0, perplexity: float = 25.0, steps: int = 500) -> np.ndarray:
    """t-SNE of unit vectors, started from their first two principal components.

    Args:
      embedding: float [n, D].
      seed: of t-SNE's approximations.
      perplexity: about how many neighbours a point minds; lowered where there are few points.
      steps: iterations, at least 250.

    Returns:
      float32 [n, 2], each coordinate spans 0 to 1.

    Source: scikit-learn's documentation of TSNE; that the start is the PCA keeps it stable between runs.
    """
    import threadpoolctl
    from sklearn.manifold import TSNE

    n = len(embedding)
    if n < 5:  # t-SNE has nothing to say about so few points
        plane = np.zeros((n, 2))
        plane[:, 0] = np.arange(n)
    else:
        tsne = TSNE(perplexity=min(perplexity, (n - 1) / 4), init="pca", max_iter=steps, random_state=seed)
        with threadpoolctl.threadpool_limits(1):  # threads that wait for each other make so small a task slower
            plane = tsne.fit_transform(np.asarray(embedding, np.float32))
    low, high = plane.min(0, initial=np.inf), plane.max(0, initial=-np.inf)
    return ((plane - low) / np.maximum(high - low, 1e-9)).astype(np.float32)


def single_values(is_compatible: np.ndarray, table: PatternTable, category: str) -> dict[str, np.ndarray]:
    """Attribute name -> int32 [n], the value that a row's patterns (bool [n, P]) share, -1 where they differ."""
    out = {}
    for name, values in table.attributes.get(category, {}).items():
        value_of_pattern = np.array(
            [values.index(p.attributes[name]) if p.category == category else -1 for p in table.patterns]
        )
        has_value = np.stack(
            [(is_compatible & (value_of_pattern == v)).any(1) for v in range(len(values))], 1
        )  # [n, v]
        out[name] = np.where(has_value.sum(1) == 1, has_value.argmax(1), -1).astype(np.int32)
    return out


def map_panel(
    category: str,
    *,
    foreground_embedding: np.ndarray,
    foreground_pattern: np.ndarray,
    query_embedding: np.ndarray,
    query_is_compatible: np.ndarray,
    table: PatternTable,
    seed: int = 0,
) -> MapPanel:
    """Lays out foregrounds (by the teacher) and queries (by the student) of one category together, foregrounds first.

    Args:
      foreground_embedding: float [f, D]. foreground_pattern: int [f].
      query_embedding: float [q, D]. query_is_compatible: bool [q, P].
    """
    is_pattern = np.arange(table.num_patterns) == np.asarray(foreground_pattern)[:, None]  # [f, P]
    membership = np.concatenate([is_pattern, query_is_compatible])  # [f + q, P]
    position = flatten_to_plane(np.concatenate([foreground_embedding, query_embedding]), seed=seed)
    return MapPanel(
        category=category,
        position=position,
        is_query=np.arange(len(position)) >= len(foreground_embedding),
        values=single_values(membership, table, category),
        value_names=dict(table.attributes.get(category, {})),
    )
