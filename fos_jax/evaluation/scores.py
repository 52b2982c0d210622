"""Rankings as functions that score one category's block: cosine and pattern posteriors.

A ranking gives the scores of a block, float32 [q, g] (higher fits better), and of the patterns, float32 [q, p].
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from fos_jax.errors import InputError
from fos_jax.evaluation.truth import Block
from fos_jax.rivals.pair_networks import COMPOSITE as COMPOSITE
from fos_jax.rivals.pair_networks import INTERACTION as INTERACTION

COSINE = "cosine"
FLAT = "flat"
FACTORISED = "factorised"
BOTH = "both"
PAIR_RANKINGS = (INTERACTION, COMPOSITE)  # a network's judgement of each pair
RANKING_TITLES = {
    COSINE: "cosine",
    FLAT: "posterior, flat head",
    FACTORISED: "posterior, factorised head",
    BOTH: "posterior, both heads",
    INTERACTION: "interaction per pair",
    COMPOSITE: "composite per pair",
}


@dataclasses.dataclass(frozen=True)
class Ranking:
    """How one method scores.

    Attributes:
      foregrounds: block -> float32 [q, g].
      patterns: block -> float32 [q, p] over the block's patterns, or None where the method ranks no patterns.
      log_posterior: float32 [Q, P] where the method has a p(pattern | query), for its calibration and its attributes.
      has_query: bool [Q], queries the method can score; None for all.
      lowest: least score possible: -1 for cosines, 0 for probabilities, the least there is for logits.
      ranking_ms: time per query where scores were computed beforehand; looking them up is not ranking.
    """

    foregrounds: Callable[[Block], np.ndarray]
    patterns: Callable[[Block], np.ndarray] | None = None
    log_posterior: np.ndarray | None = None
    has_query: np.ndarray | None = None
    lowest: float = 0.0
    ranking_ms: float | None = None


def cosine(
    query_embedding: np.ndarray,
    foreground_embedding: np.ndarray,
    prototypes: np.ndarray | None = None,
    *,
    has_query: np.ndarray | None = None,
) -> Ranking:
    """Inner product of unit vectors; patterns are ranked by the cosine to their prototypes.

    Args:
      query_embedding: float32 [Q, D], unit vectors. foreground_embedding: float32 [G, D]. prototypes: float32 [P, D].
      has_query: bool [Q], rows that hold a query; None for all.

    Source: decision 11.
    """
    _check(query_embedding, "query embedding", has_query)
    _check(foreground_embedding, "foreground embedding")
    return Ranking(
        lambda block: query_embedding[block.queries] @ foreground_embedding[block.foregrounds].T,
        None if prototypes is None else lambda block: query_embedding[block.queries] @ prototypes[block.patterns].T,
        has_query=has_query,
        lowest=-1.0,
    )


def posterior(
    query_log_posterior: np.ndarray, foreground_log_posterior: np.ndarray, *, has_query: np.ndarray | None = None
) -> Ranking:
    """score(q, f) = sum over patterns of p(pattern | q) p(pattern | f): the probability that both are of one pattern.

    Args:
      query_log_posterior: float32 [Q, P], -inf outside the category. foreground_log_posterior: float32 [G, P].
      has_query: bool [Q], rows that hold a query; None for all.

    Source: decision 11.
    """
    _check(query_log_posterior, "query log posterior", has_query)
    _check(foreground_log_posterior, "foreground log posterior")

    def foregrounds(block: Block) -> np.ndarray:
        query = np.exp(query_log_posterior[np.ix_(block.queries, block.patterns)])
        return query @ np.exp(foreground_log_posterior[np.ix_(block.foregrounds, block.patterns)]).T

    return Ranking(
        foregrounds,
        lambda block: query_log_posterior[np.ix_(block.queries, block.patterns)],
        log_posterior=query_log_posterior,
        has_query=has_query,
    )


def _check(array: np.ndarray, what: str, has_row: np.ndarray | None = None) -> None:
    is_nan = np.isnan(array).any(axis=1)
    if has_row is not None:
        is_nan &= has_row
    if is_nan.any():
        rows = np.flatnonzero(is_nan)
        raise InputError(f"{what}: NaN in {len(rows)} rows (first: {rows[0]}), expected numbers")
