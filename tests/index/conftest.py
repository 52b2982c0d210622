"""Indexes of made-up vectors, built once."""

import pytest
from made_vectors import clustered, posteriors

from fos_jax.index.build import build_index


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """ranking -> vectors, folder and what `build_index` returned."""
    found = {}
    for ranking, vectors in (("cosine", clustered(20_000)), ("posterior", posteriors(20_000))):
        folder = tmp_path_factory.mktemp("indexes") / ranking
        found[ranking] = (vectors, folder, build_index(vectors, folder, ranking=ranking, num_queries=100))
    return found
