"""Average precision of 2,000 queries against 8,000 foregrounds in 8 categories, beside a plain Python loop.

  python benchmarks/evaluation.py

Both get the same scores and labels of each category's queries against its foregrounds, run in this process one after
the other, and must agree to 1e-9. The loop takes one thread; the library ranks categories side by side, as
`evaluation.measure` does, and is also measured on one thread. Prints one JSON line. Times are the best of 30 runs here
and of 3 for the loop, each about as long in all, so that other work on the machine disturbs both alike.
"""

import concurrent.futures
import time
from collections.abc import Callable

import numpy as np
from reporting import Report, machine, make_parser

from fos_jax import metrics
from fos_jax.evaluation.measure import THREADS
from fos_jax.run_metadata import commit


def make_blocks(
    num_queries: int, num_foregrounds: int, num_categories: int, num_patterns: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each category random scores (no ties) and relevance; one or two of its patterns fit each query."""
    rng = np.random.default_rng(seed)
    q, g = num_queries // num_categories, num_foregrounds // num_categories
    blocks = []
    for _ in range(num_categories):
        scores = rng.permuted(np.linspace(0, 1, g, dtype=np.float32)[None].repeat(q, axis=0), axis=1)  # [q, g]
        pattern, fits = rng.integers(0, num_patterns, g), rng.integers(0, num_patterns, (q, 2))
        blocks.append((scores, (pattern == fits[:, :1]) | (pattern == fits[:, 1:])))
    return blocks


def plain(blocks: list[tuple[list, list]]) -> list[float]:
    """A plain loop on Python lists (indexing arrays one number at a time would be slower still)."""
    out = []
    for scores_of_query, relevant_of_query in blocks:
        for scores, relevant in zip(scores_of_query, relevant_of_query, strict=True):
            order = sorted(range(len(scores)), key=lambda g: -scores[g])
            hits, total = 0, 0.0
            for rank, g in enumerate(order, start=1):
                if relevant[g]:
                    hits += 1
                    total += hits / rank
            out.append(total / hits if hits else float("nan"))
    return out


def fast(blocks: list[tuple[np.ndarray, np.ndarray]], threads: int) -> np.ndarray:
    """The library's average precision, categories side by side."""
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        ap = pool.map(lambda block: metrics.average_precision(metrics.rank_relevant(*block)), blocks)
        return np.concatenate(list(ap))


def best_of(runs: int, function: Callable, *arguments: object) -> tuple[float, object]:
    """Least wall-clock seconds of several runs, and the last result."""
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        result = function(*arguments)
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--foregrounds", type=int, default=8000)
    parser.add_argument("--categories", type=int, default=8)
    parser.add_argument("--patterns", type=int, default=32, help="patterns per category")
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    blocks = make_blocks(flags.queries, flags.foregrounds, flags.categories, flags.patterns, flags.seed)
    fast_seconds, got = best_of(30, fast, blocks, THREADS)
    one_thread_seconds, _ = best_of(30, fast, blocks, 1)
    plain_seconds, expected = best_of(3, plain, [(scores.tolist(), relevant.tolist()) for scores, relevant in blocks])
    if np.isnan(got).tolist() != np.isnan(expected).tolist():
        raise SystemExit("the two disagree on which queries have a relevant foreground")
    difference = float(np.nanmax(np.abs(got - np.array(expected))))
    line = {
        **vars(flags),
        "plain_python_s": round(plain_seconds, 4),
        "fos_jax_s": round(fast_seconds, 4),
        "ratio": round(plain_seconds / fast_seconds, 1),
        "ratio_on_one_thread": round(plain_seconds / one_thread_seconds, 1),
        "largest_difference": difference,
        "queries_without_relevant": int(np.isnan(got).sum()),
        "commit": commit(),
        "numpy": np.__version__,
        "threads": THREADS,
        **machine(),
    }
    Report("evaluation")(line)
    if difference > 1e-9:
        raise SystemExit(f"the two differ by {difference}, expected at most 1e-9")


if __name__ == "__main__":
    main()
