"""Vectors that lie in clusters, and indexes of them, built once."""

import numpy as np
import pytest

from fos_jax.index.build import build_index


def clustered(n, size=16, seed=0, centres=40):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(centres, size))[rng.integers(0, centres, n)] + 0.3 * rng.normal(size=(n, size))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def posteriors(n, num_patterns=12, seed=0):
    """Most lie near one-hot vectors, thousands within 1e-4 of one another's scores."""
    logits = 25 * np.random.default_rng(seed).random((n, num_patterns), np.float32) ** 2
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def recall(index, vectors, queries, k, allowed=None):
    """Share of answers whose score reaches the exact k-th score, and that the rows have these scores and may come."""
    scores, rows = index.search(queries, k, allowed=allowed)
    product = queries @ vectors.T
    np.testing.assert_allclose(np.take_along_axis(product, rows, 1), scores, atol=1e-5)
    assert all(len(set(own.tolist())) == k for own in rows)
    if allowed is not None:
        assert allowed[rows].all()
        product = np.where(allowed, product, -np.inf)
    return float(np.mean(scores >= np.sort(product, axis=1)[:, -k : -k + 1 or None] - 1e-6))


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """ranking -> vectors, folder and what `build_index` returned."""
    found = {}
    for ranking, vectors in (("cosine", clustered(20_000)), ("posterior", posteriors(20_000))):
        folder = tmp_path_factory.mktemp("indexes") / ranking
        found[ranking] = (vectors, folder, build_index(vectors, folder, ranking=ranking, num_queries=100))
    return found
