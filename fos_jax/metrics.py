"""Ranking metrics of many queries at once, from scores and relevance; exact under ties.

**Ties.** Foregrounds with exactly equal scores have no order, so every metric here is its expected value over a
uniformly random order of each group of ties. The value then depends neither on the order of the gallery nor on a
seed, and a ranking that knows nothing (all scores equal) gets exactly the chance level.
Source: McSherry & Najork, "Computing information retrieval performance measures efficiently in the presence of tied
scores", ECIR 2008; decision 15.

**Queries without a relevant foreground** have no value: NaN, to be counted and left out of means by the caller.
"""

import dataclasses

import numpy as np
from scipy.special import gammaln

from fos_jax.errors import InputError

_LARGEST = np.float32(3e38)  # what infinities are ranked as


@dataclasses.dataclass(frozen=True)
class RelevantRanks:
    """The ranks at which n queries' relevant foregrounds stand, m of them in all.

    Attributes:
      query: int [m], row of the query.
      rank: int [m], from 1.
      probability: float64 [m], that this rank holds a relevant foreground: 1 outside ties.
      precision: float64 [m], expected precision of the list down to this rank, given that it holds a relevant one.
      first: float64 [m], probability that this rank holds the query's first relevant foreground.
      num_relevant: int [n].
      num_valid: int [n], foregrounds that are ranked at all.
    """

    query: np.ndarray
    rank: np.ndarray
    probability: np.ndarray
    precision: np.ndarray
    first: np.ndarray
    num_relevant: np.ndarray
    num_valid: np.ndarray


def rank_relevant(scores: np.ndarray, relevant: np.ndarray, valid: np.ndarray | None = None) -> RelevantRanks:
    """Ranks each query's foregrounds by score, the highest first, and finds the relevant ones.

    Args:
      scores: float [n, g]; infinities are ordered like numbers.
      relevant: bool [n, g].
      valid: bool [n, g], what is ranked (foregrounds of the query's category); None where all are.

    Raises:
      InputError: a valid score is NaN. ValueError: shapes differ.

    The lowest bit of a float32 score is given to the relevance, so that one vectorised sort
    of plain numbers ranks both; the rest looks at the relevant ranks only. A query where that bit, or a tie, decides
    what comes before a relevant foreground is ranked again from its own scores.
    """
    scores, relevant = np.asarray(scores), np.asarray(relevant, bool)
    if scores.ndim != 2 or relevant.shape != scores.shape or (valid is not None and valid.shape != scores.shape):
        shapes = [a.shape for a in (scores, relevant, valid) if a is not None]
        raise ValueError(f"scores, relevant and valid must be [queries, foregrounds] of one shape, got {shapes}")
    num_queries, width = scores.shape
    key = _descending(scores)  # float32 [n, g], best first in ascending order
    if valid is not None:
        key[~valid] = np.inf  # behind every real score
        relevant = relevant & valid
    bits = key.view(np.uint32)
    bits &= np.uint32(0xFFFFFFFE)
    bits |= relevant
    key.sort(axis=1)
    if np.isnan(key[:, -1:]).any():  # NaN sorts last; an infinity with its lowest bit set is one too
        _refuse_nan(scores, valid)
        return rank_relevant(np.clip(scores, -_LARGEST, _LARGEST), relevant, valid)
    is_relevant = (bits.astype(np.uint8) & 1).view(bool)  # [n, g] by rank
    flat = np.flatnonzero(is_relevant)
    start = np.searchsorted(flat, np.arange(num_queries + 1) * width)
    num_relevant = np.diff(start)
    query = np.repeat(np.arange(num_queries), num_relevant)
    rank = flat - query * width + 1
    ordinal = np.arange(1, len(flat) + 1) - start[query]
    probability, precision, first = np.ones(len(flat)), ordinal / rank, (ordinal == 1).astype(np.float64)
    # Equal but for the lowest bit: neighbours after the sort. (A neighbour in the next row costs time, nothing else.)
    here, line = bits.ravel()[flat], bits.ravel()
    is_close = (here ^ line.take(flat - 1, mode="clip") == 1) | (here ^ line.take(flat + 1, mode="clip") == 1)
    if is_close.any():
        close = np.unique(query[is_close])
        exact = scores[close].astype(np.float64)
        if valid is not None:
            exact[~valid[close]] = np.nan  # sorts last and equals nothing
        is_certain = ~np.isin(query, close)
        certain = query, rank, probability, precision, first
        query, rank, probability, precision, first = (
            np.concatenate([a[is_certain], b])
            for a, b in zip(certain, _with_ties(exact, relevant[close], close), strict=True)
        )
    num_valid = np.full(num_queries, width) if valid is None else np.count_nonzero(valid, axis=1)
    return RelevantRanks(query, rank, probability, precision, first, num_relevant, num_valid)


def average_precision(ranks: RelevantRanks, at: int | None = None) -> np.ndarray:
    """Standard average precision: precisions at the relevant ranks, summed, divided by *all* relevant foregrounds.

    With `at`, only ranks up to it count, and the divisor is min(at, relevant), so that a perfect list still gets 1.
    Returns float64 [n], NaN without a relevant foreground. Source: decision 15.
    """
    total = _sum(ranks, ranks.probability * ranks.precision, at)
    return _divide(total, ranks.num_relevant if at is None else np.minimum(ranks.num_relevant, at), ranks)


def precision_at_k(ranks: RelevantRanks, k: int) -> np.ndarray:
    """Relevant foregrounds among the first k, divided by min(k, foregrounds ranked). Returns float64 [n]."""
    return _divide(_sum(ranks, ranks.probability, k), np.minimum(ranks.num_valid, k), ranks)


def recall_at_k(ranks: RelevantRanks, k: int) -> np.ndarray:
    """Relevant foregrounds among the first k, divided by all relevant. Returns float64 [n]."""
    return _divide(_sum(ranks, ranks.probability, k), ranks.num_relevant, ranks)


def hit_rate_at_k(ranks: RelevantRanks, k: int) -> np.ndarray:
    """Probability that at least one of the first k is relevant (0 or 1 outside ties). Returns float64 [n]."""
    return _divide(_sum(ranks, ranks.first, k), np.ones_like(ranks.num_relevant), ranks)


def reciprocal_rank(ranks: RelevantRanks) -> np.ndarray:
    """One over the rank of the first relevant foreground. Returns float64 [n]."""
    return _divide(_sum(ranks, ranks.first / ranks.rank, None), np.ones_like(ranks.num_relevant), ranks)


def ndcg(ranks: RelevantRanks, at: int | None = None) -> np.ndarray:
    """Normalised discounted cumulative gain with binary gains and discount 1 / log2(1 + rank). Returns float64 [n].

    Source: Järvelin & Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002.
    """
    gain = _sum(ranks, ranks.probability / np.log2(1 + ranks.rank), at)
    longest = int(ranks.num_valid.max(initial=0))
    ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(1 + np.arange(1, longest + 1)))])  # by number of relevant
    return _divide(gain, ideal[ranks.num_relevant if at is None else np.minimum(ranks.num_relevant, at)], ranks)


def _sum(ranks: RelevantRanks, terms: np.ndarray, at: int | None) -> np.ndarray:
    if at is not None and at < 1:
        raise ValueError(f"k must be at least 1, got {at}")
    if at is not None:
        terms = np.where(ranks.rank <= at, terms, 0.0)
    return np.bincount(ranks.query, weights=terms, minlength=len(ranks.num_relevant))


def _divide(total: np.ndarray, divisor: np.ndarray, ranks: RelevantRanks) -> np.ndarray:
    has_relevant = ranks.num_relevant > 0
    return np.divide(total, divisor, out=np.full(len(total), np.nan), where=has_relevant)


def _refuse_nan(scores: np.ndarray, valid: np.ndarray | None) -> None:
    is_nan = np.isnan(scores) if valid is None else np.isnan(scores) & valid
    if is_nan.any():
        query, foreground = np.argwhere(is_nan)[0]
        raise InputError(
            f"scores: {int(is_nan.sum())} are NaN (first: query {query}, foreground {foreground}), expected numbers"
        )


def _descending(scores: np.ndarray) -> np.ndarray:
    """float32 [n, g] whose ascending order is the descending order of the scores, up to rounding.

    Zero minus the score turns both zeros into +0.
    """
    if scores.dtype == np.float64:
        scores = np.clip(scores, -_LARGEST, _LARGEST).astype(np.float32)
    return np.subtract(np.float32(0), scores, dtype=np.float32)


def _with_ties(scores: np.ndarray, relevant: np.ndarray, query: np.ndarray) -> tuple[np.ndarray, ...]:
    """`RelevantRanks`' first five arrays for rows that may hold ties.

    At the i-th (from 0) of a group of n equal scores, r of them relevant, behind a earlier relevant ones:
    P(relevant) = r / n; expected relevant ones before it inside the group, given that it is: i (r - 1) / (n - 1);
    if a = 0, P(first relevant) = C(n - i - 1, r - 1) / C(n, r).

    Args:
      scores: float64 [t, g], NaN where not valid. relevant: bool [t, g]. query: int [t], rows they came from.
    """
    columns = np.arange(scores.shape[1])
    order = np.argsort(-scores, axis=1)
    in_order, is_relevant = (np.take_along_axis(a, order, axis=1) for a in (scores, relevant))  # [t, g]
    is_start = np.ones(scores.shape, bool)
    is_start[:, 1:] = in_order[:, 1:] != in_order[:, :-1]
    is_end = np.roll(is_start, -1, axis=1)  # column 0 is a start, so the last column becomes an end
    start = np.maximum.accumulate(np.where(is_start, columns, 0), axis=1)
    end = np.minimum.accumulate(np.where(is_end, columns, columns[-1])[:, ::-1], axis=1)[:, ::-1]
    count = np.cumsum(is_relevant, axis=1)
    before = np.take_along_axis(count - is_relevant, start, axis=1)
    relevant_in_group = np.take_along_axis(count, end, axis=1) - before  # r
    row, column = np.nonzero(relevant_in_group)
    start, before, r = start[row, column], before[row, column], relevant_in_group[row, column]
    n, i = end[row, column] - start + 1, column - start
    precision = (before + 1 + i * (r - 1) / np.maximum(n - 1, 1)) / (column + 1)
    is_possible = (before == 0) & (n - i >= r)
    log_first = _log_choose(np.where(is_possible, n - i - 1, r), r - 1) - _log_choose(n, r)
    first = np.where(is_possible, np.exp(log_first), 0.0)
    return query[row], column + 1, r / n, precision, first


def _log_choose(n: np.ndarray, k: np.ndarray) -> np.ndarray:
    return gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)
