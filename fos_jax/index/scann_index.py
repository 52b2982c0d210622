"""ScaNN: a tree of partitions, searched as far as its settings say; exact search where that is quicker.

Two ways to score the rows of the partitions that a search visits:

  codes   asymmetric hashing, and exact inner products of the best of them: for embeddings.
  exact   exact inner products of all of them: for posteriors, thousands of which lie within a code's error of the best,
          alone and with experts' vectors beside them.
"""

import bisect
import itertools
import math
import os
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from fos_jax.index.exact import ExactIndex, check_allowed, check_queries, no_answers

Scoring = Literal["codes", "exact"]
# Of rows that are fetched for a filter, so many standard deviations more than wanted pass one that is blind to scores.
_DEVIATIONS = 3
# Where a larger share of all rows would be reordered, multiplying all of them is no slower.
LARGEST_SHARE = 1 / 16


class Effort(NamedTuple):
    """How far to search for the best `wanted` rows: partitions to visit, rows to reorder. No partitions: all rows."""

    wanted: int
    leaves: int
    reordered: int


class WeightFactor(NamedTuple):
    """What a multiple of the experts' usual weights takes, relative to the usual; no leaves: search all rows."""

    multiple: float
    leaves: float
    reordered: float


class Setup(NamedTuple):
    """How an index was made and how far it is searched.

    Attributes:
      scoring: see the module.
      num_leaves: partitions.
      efforts: by rising `wanted`, for the usual weights of experts; none before they were measured.
      expert_sizes: how many numbers at the end of a row are of each expert.
      expert_weights: usual weight of each; a row was indexed with its experts' numbers times these.
      weight_factors: by rising multiple.
    """

    scoring: Scoring
    num_leaves: int
    efforts: Sequence[Effort] = ()
    expert_sizes: Sequence[int] = ()
    expert_weights: Sequence[float] = ()
    weight_factors: Sequence[WeightFactor] = ()

    @property
    def weights(self) -> list[float]:
        """Of patterns or the embedding, 1, then of each expert, 1 for one that is usually left out."""
        return [1.0, *(weight or 1.0 for weight in self.expert_weights)]

    def scale(self, size: int) -> np.ndarray:
        """float32 [size], what each number of a row was multiplied by before it was indexed."""
        return np.repeat(np.array(self.weights, np.float32), [size - sum(self.expert_sizes), *self.expert_sizes])


class ScannIndex:
    """Rows of float32 [n, d], which may be mapped from a file; Linux only."""

    def __init__(self, searcher: Any, vectors: np.ndarray, setup: Setup):
        """Use `build.open_index`.

        Args:
          searcher: ScaNN's own, of `vectors` times `setup.scale`.
          vectors: float32 [n, d], known to be finite.
        """
        self._exact, self.setup = ExactIndex(vectors, is_checked=True), setup
        self.vectors = self._exact.vectors
        self._searcher = searcher.searcher  # the wrapper's defaults and ids are not used
        self._threads = len(os.sched_getaffinity(0))
        self._searcher.set_num_threads(self._threads)
        scale = setup.scale(vectors.shape[1])
        self._scale = None if (scale == 1).all() else scale
        ends = np.cumsum([vectors.shape[1] - sum(setup.expert_sizes), *setup.expert_sizes])
        self._parts = list(itertools.pairwise(ends.tolist()))  # where each expert's numbers are
        self._weights = setup.weights[1:]

    def __len__(self) -> int:
        return len(self.vectors)

    def search(
        self, vectors: np.ndarray, k: int, *, allowed: np.ndarray | None = None, is_checked: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Index`; approximate in which rows come, exact in their scores and their number.

        With `allowed`, more rows are fetched than are wanted and the others dropped: those left are the best allowed
        ones. Where few are allowed, all their inner products are computed.
        """
        queries = vectors if is_checked else check_queries(vectors, self.vectors.shape[1])
        num_allowed = len(self)
        if allowed is not None:
            num_allowed = int(np.count_nonzero(check_allowed(allowed, len(self))))
        found = min(k, num_allowed)
        if not found or not len(queries):
            return no_answers(len(queries), k)
        if num_allowed == len(self):
            allowed, fetched = None, found
        else:
            share = num_allowed / len(self)
            fetched = min(len(self), math.ceil((found + _DEVIATIONS * math.sqrt(found * (1 - share))) / share))
        effort = self.effort(fetched, queries)
        if not effort.leaves or (allowed is not None and num_allowed < effort.reordered):
            return self._exact.search(queries, k, allowed=allowed, is_checked=True)
        scores, rows = self.search_with(queries, fetched, effort)
        if allowed is not None:
            scores = np.where(allowed[rows], scores, np.float32(-np.inf))
            order = np.argsort(-scores, axis=1, kind="stable")[:, :found]
            scores, rows = np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)
        if -np.inf in scores[:, -1].tolist():  # partitions may hold too few, filters refuse what a query finds first
            is_short = scores[:, -1] == -np.inf
            all_of_them = self._exact.search(queries[is_short], found, allowed=allowed, is_checked=True)
            scores[is_short], rows[is_short] = all_of_them
        if found < k:
            missing = ((0, 0), (0, k - found))
            return np.pad(scores, missing, constant_values=-np.inf), np.pad(rows, missing, constant_values=-1)
        return scores, rows

    def effort(self, wanted: int, queries: np.ndarray) -> Effort:
        """What finding so many rows takes, in terms of the settings that were measured when the index was built.

        Where a query weighs experts other than usual, it takes what the measured weights around its own take.
        """
        leaves, reordered = self._usual_effort(wanted)
        if self.setup.weight_factors:
            least, most = self._multiples(queries)
            if least < 0.999 or most > 1.001:
                factors = self.setup.weight_factors
                multiples = [factor.multiple for factor in factors]
                low = max(0, bisect.bisect_right(multiples, least * 1.001) - 1)
                high = bisect.bisect_left(multiples, most * 0.999) + 1
                around = factors[low:high] or factors[-1:]
                leaves *= max(factor.leaves for factor in around) * all(factor.leaves for factor in around)
                reordered *= max(factor.reordered for factor in around)
        if reordered > LARGEST_SHARE * len(self):
            return Effort(wanted, 0, 0)
        return Effort(wanted, min(math.ceil(leaves), self.setup.num_leaves), max(wanted, math.ceil(reordered)))

    def _usual_effort(self, wanted: int) -> tuple[float, float]:
        """Partitions and rows between those that were measured for fewer and for more."""
        efforts = self.setup.efforts
        if wanted <= efforts[0].wanted:
            return efforts[0].leaves, efforts[0].reordered
        below = max(effort for effort in efforts if effort.wanted <= wanted)
        above = next((effort for effort in efforts if effort.wanted > wanted), None)
        if above is None:
            return wanted / below.wanted * below.leaves, wanted / below.wanted * below.reordered
        share = (wanted - below.wanted) / (above.wanted - below.wanted)
        leaves, reordered = (a + share * (b - a) for a, b in zip(below[1:], above[1:], strict=True))
        return leaves, reordered

    def _multiples(self, queries: np.ndarray) -> tuple[float, float]:
        """Least and largest multiple of an expert's usual weight that any of the queries asks for."""
        least, most = math.inf, 0.0
        for (a, b), weight in zip(self._parts, self._weights, strict=True):
            part = queries[:, a:b]
            squares = [float(part[0] @ part[0])] if len(part) == 1 else np.einsum("qd,qd->q", part, part).tolist()
            least, most = min(least, min(squares) / weight**2), max(most, max(squares) / weight**2)
        return math.sqrt(least), math.sqrt(most)

    def search_with(self, queries: np.ndarray, k: int, effort: Effort) -> tuple[np.ndarray, np.ndarray]:
        """Scores and rows [q, k] at this effort, of finite queries; padded where the partitions hold fewer."""
        asked = queries if self._scale is None else queries / self._scale
        has_codes = self.setup.scoring == "codes"
        found = min(len(self), 2 * k if has_codes else k)  # ScaNN orders by a byte a number: the last may be wrong
        how = (found, max(found, effort.reordered) if has_codes else -1, effort.leaves)
        if len(queries) == 1:  # on its own: of a few dozen microseconds, each call of NumPy counts
            rows, scores = self._searcher.search(asked[0], *how)
            rows = rows.astype(np.int64)
            if has_codes:
                scores = self.vectors.take(rows, axis=0) @ queries[0]
            order = np.lexsort((rows, -scores))[:k]
            scores, rows = scores[order][None], rows[order][None]
        else:
            batch = min(256, -(-len(asked) // self._threads))
            rows, scores = self._searcher.search_batched(asked, *how, True, batch)
            is_padding, rows = np.isnan(scores), rows.astype(np.int64)  # ScaNN fills up with row 0 and NaN
            if has_codes:
                for start in range(0, len(rows), 64):
                    part = slice(start, start + 64)
                    scores[part] = np.matmul(self.vectors.take(rows[part], axis=0), queries[part, :, None])[..., 0]
            if is_padding.any():
                scores[is_padding], rows[is_padding] = -np.inf, -1
            if has_codes:
                order = np.lexsort((rows, -scores))[:, :k]
                scores, rows = np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)
            else:  # ScaNN does not order ties
                tied = np.flatnonzero((scores[:, 1:] >= scores[:, :-1]).any(axis=1))
                order = np.lexsort((rows[tied], -scores[tied]))
                scores[tied] = np.take_along_axis(scores[tied], order, 1)
                rows[tied] = np.take_along_axis(rows[tied], order, 1)
        if rows.shape[1] < k:
            missing = ((0, 0), (0, k - rows.shape[1]))
            return np.pad(scores, missing, constant_values=-np.inf), np.pad(rows, missing, constant_values=-1)
        return scores, rows
