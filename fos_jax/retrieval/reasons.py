"""The sentence behind `hit.why`: which patterns the score comes from."""

import numpy as np

from fos_jax.pattern_table import PatternTable
from fos_jax.retrieval.gallery import Gallery
from fos_jax.retrieval.queries import EncodedQuery


def reason_for_hit(gallery: Gallery, row: int, query: EncodedQuery | None) -> str:
    """Why gallery row `row` answers the query; without a query, what the foreground is."""
    rows = gallery.category(str(gallery.metadata.category[row]))
    posterior = rows.posteriors[row - int(rows.rows[0])]
    return reason(gallery.table, rows.patterns, posterior, None if query is None else query.posterior)


def reason(
    table: PatternTable, patterns: np.ndarray, foreground_posterior: np.ndarray, query_posterior: np.ndarray | None
) -> str:
    """Names the foreground's pattern, how probable it is for the place, and the pattern that gives most of the score.

    Args:
      table: the pattern table.
      patterns: int [p], ids of the category's patterns.
      foreground_posterior, query_posterior: float32 [p].
    """
    own = int(foreground_posterior.argmax())
    name = table.patterns[int(patterns[own])].description
    sentence = f"It is {name} ({foreground_posterior[own]:.0%} sure)"
    if query_posterior is None:
        return f"{sentence}."
    place = int((query_posterior > query_posterior[own]).sum()) + 1
    sentence += f", number {place} of {len(patterns)} patterns for this place (p = {query_posterior[own]:.2f})."
    shares = foreground_posterior * query_posterior
    best = int(shares.argmax())
    if best != own and shares.sum() > 0:
        other = table.patterns[int(patterns[best])].description
        sentence += f" Most of its score comes from {other} ({shares[best] / shares.sum():.0%})."
    return sentence
