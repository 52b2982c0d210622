"""Sharing a few places out over the patterns that may fit: foregrounds chosen one by one, each for what it adds.

A list by score alone shows one pattern many times over while another that fits as well waits behind it. Here the set
that is shown is worth the number of its foregrounds that fit, expected under the posteriors, plus `coverage_weight`
for each pattern that fits and is shown at all. What a foreground adds to those already chosen is then

    sum over patterns of p(pattern | query) (1 + coverage_weight * unseen(pattern)) p(pattern | foreground),

with unseen(pattern) the probability that none of the chosen is of it: an inner product, so the index of the ranking by
posterior finds the next one. Choosing the best addition each time reaches at least 1 - 1/e of the best set's worth.

Source: Agrawal et al., "Diversifying search results", WSDM 2009 (the worth of covering what may be meant, greedily);
Santos et al., "Exploiting query reformulations for web search result diversification", WWW 2010 (mixed with
relevance); patterns in the place of meanings and the search by inner product are design decisions.
"""

from collections.abc import Callable

import numpy as np

COVERAGE_WEIGHT = 1.0


def choose(
    find: Callable[[np.ndarray, int], np.ndarray],
    posteriors: np.ndarray,
    query_posterior: np.ndarray,
    total: int,
    *,
    coverage_weight: float = COVERAGE_WEIGHT,
) -> list[int]:
    """Rows of the chosen foregrounds in the order of choice; fewer than `total` where there are fewer.

    Args:
      find: (vector float32 [p], k) -> the k rows of highest inner product with it, best first, -1 where there are none.
      posteriors: float32 [n, p], p(pattern | foreground).
      query_posterior: float32 [p], p(pattern | query).
      total: how many.
      coverage_weight: what a fitting pattern's first appearance is worth, in fitting foregrounds; 0 ranks by score.
    """
    chosen: list[int] = []
    unseen = np.ones_like(query_posterior)
    while len(chosen) < total:
        found = find(query_posterior * (1 + coverage_weight * unseen), len(chosen) + 1)
        new = next((int(row) for row in found if row >= 0 and row not in chosen), None)
        if new is None:
            break
        chosen.append(new)
        unseen = unseen * (1 - posteriors[new])
    return chosen
