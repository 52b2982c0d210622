"""Vectors that lie in clusters, posteriors, and the recall of an index of them."""

import numpy as np


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
