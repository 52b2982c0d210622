"""Queries of a file that a gallery's indexes are measured with."""

from collections import defaultdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fos_jax.errors import InputError
from fos_jax.gallery.foregrounds import Layout
from fos_jax.gallery.segment import RANKINGS
from fos_jax.retrieval.batches import read_queries
from fos_jax.retrieval.queries import BATCH_SIZE, EncodedQuery, EncodesQueries, encode_prepared, prepare_query

LEAST_QUERIES = 50  # of a category: a share of .99 cannot be told from fewer


def encode_tuning_queries(
    path: str | Path, bundle: EncodesQueries, *, progress: bool = False
) -> dict[str, dict[str, np.ndarray]]:
    """category -> ranking -> float32 [m, d], as `gallery.indexing.Indexing` takes them.

    Args:
      path: JSON lines with photo, box and category, as `batches.read_queries`.
      bundle: with a query encoder.
      progress: whether to show a progress bar.

    Raises:
      InputError: a line that is no query or whose photograph cannot be read (file and line are named), a category with
        fewer than 50, or none at all.
    """
    if not bundle.has_query_encoder:
        raise InputError(f"{path}: bundle {bundle.fingerprint} has no query encoder, which tuning by queries needs")
    found, lines = defaultdict[str, list[EncodedQuery]](list), list(read_queries(path))
    with tqdm(desc="tuning queries", unit="", total=len(lines), disable=not progress) as bar:
        for start in range(0, len(lines), BATCH_SIZE):
            batch, prepared = lines[start : start + BATCH_SIZE], []
            for line in batch:
                try:
                    if line.query is None:
                        raise InputError(line.error)
                    prepared.append(prepare_query(line.query, bundle, keep_photo=False))
                except InputError as error:
                    raise InputError(f"{path}, line {line.number}, {error}") from None
            for query in encode_prepared(prepared, bundle):
                found[query.category].append(query)
            bar.update(len(batch))
    for category, queries in found.items():
        if len(queries) < LEAST_QUERIES:
            raise InputError(f"{path}: {len(queries)} queries of {category}, expected {LEAST_QUERIES} or none")
    if not found:
        raise InputError(f"{path}: no query, expected {LEAST_QUERIES} of a category")
    return {category: _vectors(queries, bundle) for category, queries in sorted(found.items())}


def _vectors(queries: list[EncodedQuery], bundle: EncodesQueries) -> dict[str, np.ndarray]:
    one = queries[0]
    sizes = {name: len(vector) for name, vector in one.experts.items()}
    layout = Layout(bundle.table, len(one.embedding), bundle.expert_weights, sizes)
    return {ranking: np.stack([layout.query_vector(query, ranking) for query in queries]) for ranking in RANKINGS}
