"""Milliseconds and recall of search: exact against ScaNN, beside the encoding of one query.

  python benchmarks/search.py --rows=100000,500000 [--bundle=runs/demo/student/bundle]

Vectors are drawn around random centres, as embeddings of patterns lie. One JSON line per ranking and number of rows;
times are medians of single queries in one process after warm-up, recall@k is the share of ScaNN's hits whose score
reaches the exact k-th.
"""

import time
from collections.abc import Callable

import numpy as np
from reporting import Report, machine, make_parser

from fos_jax.retrieval.index import ExactIndex, Index, ScannIndex


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--rows", default="100000,500000", help="numbers of vectors")
    parser.add_argument("--size", type=int, default=128, help="numbers in an embedding")
    parser.add_argument("--patterns", type=int, default=48, help="centres of the embeddings, size of a posterior")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--k", type=int, default=10, help="hits per query")
    parser.add_argument("--searched_share", type=float, default=0.1, help="share of ScaNN's partitions to visit")
    parser.add_argument("--bundle", help="bundle whose query encoder is timed too")
    args, report = parser.parse_args(), Report("search")
    encode_ms = _encode_ms(args.bundle) if args.bundle else None
    for rows in map(int, args.rows.split(",")):
        rng = np.random.default_rng(0)
        spread = 0.6 * np.linalg.norm(centres := rng.normal(size=(args.patterns, args.size)), axis=1).mean()
        centres = centres.astype(np.float32)
        embeddings = _around(centres, rows, spread, rng)
        queries = _around(centres, args.queries, spread, rng)
        prototypes = centres / np.linalg.norm(centres, axis=1, keepdims=True)
        pairs = {"cosine": (embeddings, queries)}
        pairs["posterior"] = (_softmax(16 * embeddings @ prototypes.T), _softmax(8 * queries @ prototypes.T))
        for ranking, (vectors, asked) in pairs.items():
            started = time.monotonic()
            scann = ScannIndex.build(vectors, searched_share=args.searched_share)
            build_s = time.monotonic() - started
            exact = ExactIndex(vectors)
            exact_ms, exact_scores = _median_ms(exact, asked, args.k)
            scann_ms, scann_scores = _median_ms(scann, asked, args.k)
            line = {
                "ranking": ranking,
                "rows": rows,
                "size": vectors.shape[1],
                "k": args.k,
                "encode_ms": encode_ms,
                "exact_ms": round(exact_ms, 3),
                "scann_ms": round(scann_ms, 3),
                "exact_over_scann": round(exact_ms / scann_ms, 1),
                "scann_recall_at_k": round(float(np.mean(scann_scores >= exact_scores[:, -1:] - 1e-6)), 4),
                "scann_build_s": round(build_s, 2),
                "searched_share": args.searched_share,
                **machine(),
            }
            report(line)


def _around(centres: np.ndarray, n: int, spread: float, rng: np.random.Generator) -> np.ndarray:
    """float32 [n, d]: unit vectors around random centres."""
    noise = rng.standard_normal((n, centres.shape[1]), np.float32) * np.float32(spread / np.sqrt(centres.shape[1]))
    vectors = centres[rng.integers(0, len(centres), n)] + noise
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def _median_ms(index: Index, queries: np.ndarray, k: int) -> tuple[float, np.ndarray]:
    scores = [_timed(lambda q=q: index.search(q[None], k)[0]) for q in queries]
    return float(np.median([ms for ms, _ in scores[5:]])), np.concatenate([s for _, s in scores])


def _timed(call: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    started = time.perf_counter()
    result = call()
    return 1000 * (time.perf_counter() - started), result


def _encode_ms(path: str) -> float:
    from fos_jax.encoders.bundle import load_bundle
    from fos_jax.retrieval.queries import SearchQuery, encode_queries

    bundle = load_bundle(path)
    photo = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    query = SearchQuery(photo, (100, 100, 300, 300), bundle.table.categories[0])
    times = [_timed(lambda: np.asarray(encode_queries([query], bundle)[0].embedding))[0] for _ in range(30)]
    return round(float(np.median(times[5:])), 3)


if __name__ == "__main__":
    main()
