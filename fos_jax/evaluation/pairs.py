"""Rankings by networks that judge pairs: every query with every foreground of its category, computed beforehand.

A bundle that holds an interaction or a discriminator of composites (`encoders.pair_networks`) ranks by it too. Each
pair costs a pass of that network, so the scores are computed once and looked up by all that measures them.
"""

import time
from typing import TYPE_CHECKING

import jax
import numpy as np

from fos_jax.encoders.pair_networks import PAIR_NETWORKS
from fos_jax.encoders.pair_scores import PairScorer
from fos_jax.evaluation.scores import Ranking
from fos_jax.evaluation.truth import Block, Truth

if TYPE_CHECKING:
    from fos_jax.evaluation.methods import Method


def pair_rankings(method: "Method", truth: Truth, *, batch_size: int, progress: bool) -> dict[str, Ranking]:
    """Network's name -> ranking, for each such network of a method's bundle; empty where it has none.

    Args:
      method: with its bundle and the split.
      truth: labels of its split.
      batch_size: of encoding.
      progress: whether to show a bar a category.

    Source: design decision.
    """
    bundle, queries, foregrounds = method.bundle, method.queries, method.foregrounds
    rankings = {}
    for name in (name for name in PAIR_NETWORKS if name in bundle.variables):
        scorer, variables = PairScorer(name, bundle.config, bundle.table), bundle.variables
        of_queries = scorer.queries(
            variables, queries.image, queries.box_yxyx_norm, queries.category, batch_size=batch_size
        )
        of_foregrounds = scorer.foregrounds(variables, foregrounds.image, foregrounds.category, batch_size=batch_size)
        first = np.zeros(1, int)
        scorer.scores(variables, _rows(of_queries, first), _rows(of_foregrounds, first))  # compiles
        start, found = time.perf_counter(), {}
        for block in truth.blocks():
            found[block.category] = (
                block,
                scorer.scores(
                    variables,
                    _rows(of_queries, block.queries),
                    _rows(of_foregrounds, block.foregrounds),
                    description=f"{method.name}, {name}, {truth.table.categories[block.category]}" if progress else "",
                ),
            )
        seconds = time.perf_counter() - start
        rankings[name] = looked_up(found, ranking_ms=1000 * seconds / len(truth.query_category))
    return rankings


def _rows(arrays: tuple[np.ndarray, ...], chosen: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(array[chosen] for array in arrays)


def looked_up(found: dict[int, tuple[Block, np.ndarray]], *, ranking_ms: float | None = None) -> Ranking:
    """A ranking by scores that are there: category -> its whole block (rows ascending) and float32 [q, g]."""

    def foregrounds(block: Block) -> np.ndarray:
        whole, table = found[block.category]
        query = np.searchsorted(whole.queries, block.queries)
        return table[np.ix_(query, np.searchsorted(whole.foregrounds, block.foregrounds))]

    lowest = min((float(table.min()) for _, table in found.values() if table.size), default=0.0)
    return Ranking(foregrounds, lowest=lowest, ranking_ms=ranking_ms)


def pair_cost(method: "Method") -> dict[str, dict[str, float | int | None]]:
    """What a query costs beside its encoding, by network; empty where a method's bundle has none.

    Returns: network's name -> `pairs` (mean foregrounds of a query's category), `pair_gflop` (as XLA counts them; None
    where it does not), `parameters` (of the network).

    Source: design decision.
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
