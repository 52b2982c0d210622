"""Cost of answering a query: encoding it, and ranking its category's gallery by exact search."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fos_jax.encoders.build import build_query_encoder
from fos_jax.encoders.bundle import Bundle
from fos_jax.encoders.operations import count_gflop
from fos_jax.evaluation.methods import EvaluatedModel
from fos_jax.evaluation.scores import Ranking
from fos_jax.evaluation.truth import Truth
from fos_jax.rivals.pair_networks import PAIR_NETWORKS
from fos_jax.rivals.pair_scores import PairScorer

BATCH_SIZE = 64


def encoding_cost(method: EvaluatedModel, *, batch_size: int = BATCH_SIZE, repeats: int = 7) -> dict[str, Any]:
    """Time, operations and size of encoding queries, prepared images in memory, compilation left out.

    Times are medians of `repeats` runs on whatever machine this is, with whatever else runs on it; operations and
    parameters are the same everywhere.

    Returns: `one_ms` (a single query), `batch_ms` (per query in a batch of `batch_size`), `batch_size`, `gflop` (per
    query, as XLA counts it; None where it does not), `parameters` (of the query encoder), and, for a bundle that judges
    pairs, `pairs` (see `pair_cost`).
    """
    queries = method.queries
    times = {}
    for num in (1, min(batch_size, len(queries))):
        rows = slice(0, num)
        arrays = queries.image[rows], queries.box_yxyx_norm[rows], queries.category[rows]

        def encode(arrays: tuple = arrays, num: int = num) -> None:
            method.bundle.encode_queries(*arrays, batch_size=num)

        times[num] = _median_ms(encode, repeats) / num
    one, *batch = times.values()
    pairs = pair_cost(method)
    return {
        **({"pairs": pairs} if pairs else {}),
        "one_ms": one,
        "batch_ms": batch[0] if batch else one,
        "batch_size": min(batch_size, len(queries)),
        "gflop": _gflop(method.bundle),
        "parameters": sum(x.size for x in jax.tree.leaves(method.bundle.variables["query"].get("params", {}))),
    }


def pair_cost(method: EvaluatedModel) -> dict[str, dict[str, float | int | None]]:
    """Cost of a query beside its encoding, by network that judges pairs; empty where a method's bundle has none.

    Returns: network's name -> `pairs` (mean foregrounds of a query's category), `pair_gflop` (as XLA counts them; None
    where it does not), `parameters` (of the network).
    """
    bundle, queries, foregrounds = method.bundle, method.queries, method.foregrounds
    pairs = float(np.bincount(foregrounds.category, minlength=len(bundle.table.categories))[queries.category].mean())
    costs: dict[str, dict[str, float | int | None]] = {}
    for name in (name for name in PAIR_NETWORKS if name in bundle.variables):
        scorer, one = PairScorer(name, bundle.config, bundle.table), slice(0, 1)
        shares = (
            scorer.queries(bundle.variables, queries.image[one], queries.box_yxyx_norm[one], queries.category[one]),
            scorer.foregrounds(bundle.variables, foregrounds.image[one], foregrounds.category[one]),
        )
        parameters = sum(x.size for x in jax.tree.leaves(bundle.variables[name].get("params", {})))
        gflop = scorer.gflop(bundle.variables, *shares)
        costs[name] = {"pairs": pairs, "pair_gflop": gflop, "parameters": parameters}
    return costs


def ranking_ms(ranking: Ranking, truth: Truth, *, repeats: int = 3) -> float:
    """Mean time in ms to score all foregrounds of a query's category, many queries at a time; median of `repeats`.

    Where the scores were computed beforehand it is the time that took, once.
    """
    if ranking.ranking_ms is not None:
        return ranking.ranking_ms

    def score() -> None:
        for block in truth.blocks():
            ranking.foregrounds(block)

    return _median_ms(score, repeats) / len(truth.query_category)


def _median_ms(run: Callable[[], None], repeats: int) -> float:
    run()  # compiles, fills caches
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)


def _gflop(bundle: Bundle) -> float | None:
    """Operations of one query in units of 1e9."""
    encoder = build_query_encoder(bundle.config, bundle.table)
    size = bundle.query_size
    inputs = jnp.zeros((1, size, size, 3), jnp.uint8), jnp.zeros((1, 4)), jnp.zeros(1, jnp.int32)
    return count_gflop(encoder.apply, bundle.variables["query"], *inputs)
