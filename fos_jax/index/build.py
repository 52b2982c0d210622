"""Build an index whose settings reach a recall target, and open it."""

import functools
import hashlib
import itertools
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from fos_jax.errors import InputError
from fos_jax.files import published_directory
from fos_jax.index.exact import ExactIndex, Index, check_queries, check_vectors
from fos_jax.index.scann_index import LARGEST_SHARE, Effort, ScannIndex, Scoring, Setup, WeightFactor

# Below this, ScaNN's own documentation advises exact search; a tree over few points only loses answers.
SCANN_MIN_ROWS = 20_000
SETTINGS = "index.json"
FORMAT = "fos_jax index"
_WEIGHT_MULTIPLES = (0.0, 0.3, 1.0, 3.0, 10.0)
_WANTED_MULTIPLES = (1, 5, 25)  # of k: longer lists, and what filters take
# Of what the target leaves to 1: queries that are made are not the real ones, and the next real ones are others.
_MARGIN, _OWN_MARGIN = 0.5, 0.1
_SAMPLE = 20_000  # rows that queries are made of
_CHECKED_BYTES = 8_000_000  # files up to this size are read twice to compare checksums whenever an index is opened


def build_index(
    vectors: np.ndarray,
    folder: str | Path,
    *,
    ranking: Literal["posterior", "cosine"],
    expert_sizes: Sequence[int] = (),
    expert_weights: Sequence[float] = (),
    queries: np.ndarray | None = None,
    k: int = 20,
    target_recall: float = 0.99,
    num_queries: int = 200,
    num_leaves: int | None = None,
    min_rows: int = SCANN_MIN_ROWS,
    where: str = "vectors",
    seed: int = 0,
) -> dict[str, Any]:
    """Writes an index over float32 [n, d] into a new folder and measures how far it must be searched.

    Args:
      vectors: rows; mapped ones are read block by block, ScaNN makes its own copy while it trains.
      folder: appears when all is written; one that was there is replaced.
      ranking: "cosine" for embeddings, "posterior" for pattern posteriors, to which experts' vectors may be joined.
      expert_sizes: how many numbers at the end of each row are of each expert; a query may weigh them freely.
      expert_weights: usual weight of each; the index tells apart best what scores with these tell apart.
      queries: float32 [m, d], held-out queries with the usual weights; made of the rows where there are none.
      k: answers whose recall counts.
      target_recall: share of the k best answers to find, in 0..1; one whose score reaches the exact k-th counts.
      num_queries: how many queries to make of each kind (`made_queries`).
      num_leaves: partitions; by default the square root of n.
      min_rows: fewer rows are searched exactly.
      where: what messages call the vectors.
      seed: of the queries that are made.

    Returns:
      What `index.json` holds: kind ("exact" or "scann"), settings, files, and for "scann" the measured curve: per
      point multiple (of the experts' usual weights), wanted, leaves, reordered, recall and queries_per_core_s
      (queries in a batch per second of one core).

    Raises:
      InputError: rows that are not finite, sizes that do not match, or fewer rows than ScaNN can train on.

    Source: documentation of ScaNN (partitions ~ sqrt(n), 2 numbers a code, anisotropic threshold 0.2).
    """
    vectors = check_vectors(vectors, where=where)
    expert_sizes, expert_weights = tuple(map(int, expert_sizes)), tuple(map(float, expert_weights))
    n, size = vectors.shape
    if len(expert_sizes) != len(expert_weights) or sum(expert_sizes) > size:
        given = f"sizes {[*expert_sizes]} and weights {[*expert_weights]}"
        raise InputError(f"{where}: {size} numbers, of experts {given} do not match")
    if not 0 < target_recall <= 1:
        raise InputError(f"target_recall: got {target_recall}, expected more than 0 and at most 1")
    is_exact = n < min_rows or sys.platform != "linux"
    leaves = num_leaves or max(1, math.isqrt(n))
    if not is_exact and n < max(leaves, 256):  # codes train 16 centres, and a tree needs a row a leaf
        raise InputError(f"{where}: {n} rows are too few for ScaNN, expected at least {max(leaves, 256)}")
    settings: dict[str, Any] = {"format": FORMAT, "rows": n, "size": size, "kind": "exact" if is_exact else "scann"}
    with published_directory(folder) as aside:
        if not is_exact:
            scoring: Scoring = "codes" if ranking == "cosine" else "exact"
            setup, started = Setup(scoring, leaves, (), expert_sizes, expert_weights), time.monotonic()
            _train(vectors, setup).serialize(str(aside), relative_path=True)
            trained_s = time.monotonic() - started
            index = ScannIndex(_load(aside), vectors, setup)  # what was written: ScaNN does not tell of a full disk
            if queries is None:
                kinds = made_queries(vectors, num_queries, ranking, setup, np.random.default_rng(seed))
                margin = _MARGIN
            else:
                kinds, margin = check_queries(queries, size)[None], _OWN_MARGIN
            setup, curve = _measure(index, kinds, k, target_recall + margin * (1 - target_recall))
            settings |= {**setup._asdict(), "k": k, "target_recall": target_recall, "curve": curve}
            settings |= {"train_s": round(trained_s, 1), "measure_s": round(time.monotonic() - started - trained_s, 1)}
        settings["files"] = {path.name: _measure_file(path) for path in sorted(aside.iterdir())}
        (aside / SETTINGS).write_text(json.dumps(settings), "utf-8")
    return settings


def open_index(folder: str | Path, vectors: np.ndarray, *, verify: bool = False) -> Index:
    """Opens what `build_index` wrote.

    Args:
      folder: the index's.
      vectors: float32 [n, d], those it was built of, in memory or mapped; scores are computed from them.
      verify: compare the checksums of all files; otherwise those of small ones, and all sizes.

    Raises:
      InputError: no index there, a damaged one, one of other vectors, or one that would run foreign code.
    """
    folder = Path(folder)
    try:
        settings = json.loads((folder / SETTINGS).read_bytes())
        if settings["format"] != FORMAT:
            raise InputError(f"{folder / SETTINGS}: format is {settings['format']!r}, expected {FORMAT!r}")
        files, kind, of = dict(settings["files"]), settings["kind"], [settings["rows"], settings["size"]]
        setup = Setup("exact", 0)
        if kind == "scann":
            setup = Setup(
                settings["scoring"],
                int(settings["num_leaves"]),
                [Effort(*map(int, effort)) for effort in settings["efforts"]],
                settings["expert_sizes"],
                settings["expert_weights"],
                [WeightFactor(*map(float, factor)) for factor in settings["weight_factors"]],
            )
            if setup.scoring not in get_args(Scoring) or not setup.efforts or len(setup.scale(of[1])) != of[1]:
                raise ValueError(f"scoring is {setup.scoring!r}, efforts are {setup.efforts}")
        for name, expected in files.items():
            _check_file(folder / name, expected, verify)
    except FileNotFoundError:
        raise InputError(f"{folder}: no index there ({SETTINGS} is missing)") from None
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror})") from None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{folder / SETTINGS}: not an index's settings ({type(error).__name__}: {error})") from None
    if list(vectors.shape) != of or vectors.dtype != np.float32:
        raise InputError(f"{folder}: is of float32 {of}, got vectors of {vectors.dtype} {list(vectors.shape)}")
    if kind == "exact":
        return ExactIndex(vectors, is_checked=True)
    return ScannIndex(_load(folder), vectors, setup)


def recall_of(settings: dict[str, Any]) -> float:
    """The recall that an index reached when it was built, of what `build_index` returned or `index.json` holds."""
    if settings["kind"] == "exact" or not settings["efforts"][0][1]:
        return 1.0
    chosen = tuple(settings["efforts"][0])
    same = [p for p in settings["curve"] if (p["wanted"], p["leaves"], p["reordered"]) == chosen and p["multiple"] == 1]
    return float(same[0]["recall"])


def made_queries(
    vectors: np.ndarray, num_queries: int, ranking: str, setup: Setup, rng: np.random.Generator
) -> np.ndarray:
    """float32 [3, m, d]: three kinds of queries with the usual weights, for settings to reach the target on each.

    near   the mean of a row's neighbours (1 of 200 rows): what a model says that knows a pattern but no individual, so
           that hundreds of rows score nearly the same. Embeddings and experts' vectors with noise as long.
    mixed  posteriors mixed of two rows by a random share; embeddings and experts' vectors of one, with noise twice as
           long, which need not fit the posterior: more partitions have to be visited.
    flat   as mixed, with the mean posterior of three rows, and of ten where experts then choose.

    With 100,000 rows and a target of .99, 1,000 encoded photographs found of the best 20 rendered foregrounds .994 to
    .996 by embedding, 1.0 by posterior and .998 to .999 by both (three seeds); with half the margin .985 to .993 by
    embedding.
    """
    vectors = vectors[np.sort(rng.choice(len(vectors), min(_SAMPLE, len(vectors)), replace=False))]
    vectors = vectors * setup.scale(vectors.shape[1])
    rows = vectors[rng.integers(0, len(vectors), (10 if setup.expert_sizes else 3, num_queries))]
    share = rng.random((num_queries, 1), np.float32)
    num_near = -(-len(vectors) // 200)
    near = np.argpartition(-(rows[0] @ vectors.T), num_near - 1, axis=1)[:, :num_near]  # [m, near]
    kinds = np.stack([np.stack([vectors[of].mean(axis=0) for of in near]), rows[0], rows[0]])
    ends = np.cumsum([vectors.shape[1] - sum(setup.expert_sizes), *setup.expert_sizes])
    for i, part in enumerate(np.split(kinds, ends[:-1], axis=2)):
        if ranking == "posterior" and i == 0:
            part[1] = (share * rows[0] + (1 - share) * rows[1])[:, : ends[0]]
            part[2] = rows.mean(axis=0)[:, : ends[0]]
        else:
            noise = _unit(rng.standard_normal(part.shape, np.float32)) * np.array([[[1]], [[2]], [[2]]], np.float32)
            part[:] = np.float32(setup.weights[i]) * _unit(_unit(part) + noise)
    return kinds


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def _train(vectors: np.ndarray, setup: Setup) -> Any:
    from scann.scann_ops.py import scann_ops_pybind
    from scann.scann_ops.py.scann_builder import ReorderType

    scaled = vectors * setup.scale(vectors.shape[1]) if setup.expert_sizes else vectors
    n = len(vectors)
    builder = scann_ops_pybind.builder(scaled, min(10, n), "dot_product")
    builder.tree(setup.num_leaves, 1, training_sample_size=min(n, max(100_000, 50 * setup.num_leaves)))
    if setup.scoring == "exact":
        return builder.score_brute_force().build()
    # A byte a number suffices to choose which embeddings are multiplied exactly, and takes a quarter of the memory.
    codes = builder.score_ah(2, anisotropic_quantization_threshold=0.2)
    return codes.reorder(1, quantize=ReorderType.INT8).build()


def _load(folder: Path) -> Any:
    from scann.scann_ops.py import scann_ops_pybind

    if (folder / "scann_docids.pkl").exists():  # ScaNN would unpickle it: that runs whatever it holds
        raise InputError(f"{folder}: holds scann_docids.pkl, which no index of ours has; not opened")
    try:
        return scann_ops_pybind.load_searcher(str(folder), assets_backcompat_shim=False)
    except (ValueError, TypeError, RuntimeError, OSError) as error:
        raise InputError(f"{folder}: the ScaNN index cannot be opened ({' '.join(str(error).split())})") from None


def _measure_file(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _check_file(path: Path, expected: dict[str, Any], verify: bool) -> None:
    """ScaNN crashes on some damaged files; the small ones steer it and are always compared."""
    if path.parent / path.name != path or not path.is_file():
        raise InputError(f"{path}: missing, though {SETTINGS} lists it")
    if path.stat().st_size != expected["bytes"]:
        raise InputError(f"{path}: {path.stat().st_size} bytes, expected {expected['bytes']}")
    if (verify or expected["bytes"] <= _CHECKED_BYTES) and _measure_file(path)["sha256"] != expected["sha256"]:
        raise InputError(f"{path}: its checksum differs from the one in {SETTINGS}")


def _measure(index: ScannIndex, queries: np.ndarray, k: int, target: float) -> tuple[Setup, list[dict[str, float]]]:
    """The index's setup with the efforts that reach the target for all kinds of queries, and what was measured.

    Queries are [kinds, m, d].
    """
    curve: list[dict[str, float]] = []
    efforts = []
    for times in _WANTED_MULTIPLES:
        wanted = times * k
        asked = queries if times == 1 else queries[:, : max(50, queries.shape[1] // times)]
        effort = _tune(index, asked, wanted, target, {"multiple": 1.0}, curve)
        if effort is None:
            break
        efforts.append(effort)
    usual = efforts[0] if efforts else Effort(k, 0, 0)
    factors = []
    for multiple in _WEIGHT_MULTIPLES if index.setup.expert_sizes and efforts else ():
        asked = queries.copy()
        asked[..., -sum(index.setup.expert_sizes) :] *= multiple
        other = usual if multiple == 1 else _tune(index, asked, k, target, {"multiple": multiple}, curve)
        found = (other.leaves / usual.leaves, other.reordered / usual.reordered) if other else (0.0, 0.0)
        factors.append(WeightFactor(multiple, *found))
    return index.setup._replace(efforts=tuple(efforts) or (usual,), weight_factors=tuple(factors)), curve


def _tune(
    index: ScannIndex,
    queries: np.ndarray,
    wanted: int,
    target: float,
    labels: dict[str, float],
    curve: list[dict[str, float]],
) -> Effort | None:
    """The fastest effort that reaches the target; None where none does. Adds what it measures to the curve."""
    has_codes = index.setup.scoring == "codes"
    num_kinds, queries = len(queries), queries.reshape(-1, queries.shape[2])
    kth = ExactIndex(index.vectors, is_checked=True).search(queries, wanted)[0][:, -1:] - 1e-6

    speeds = dict[tuple[int, int], float]()

    def measure(leaves: int, reordered: int) -> tuple[float, float]:
        effort, seconds, recall = Effort(wanted, leaves, reordered), math.inf, 1.0
        for _ in range(2):
            started = time.process_time()  # of all threads: other programs may be busy
            scores, _rows = index.search_with(queries, wanted, effort)
            seconds = min(seconds, time.process_time() - started)
            recall = float((scores >= kth).reshape(num_kinds, -1).mean(axis=1).min())
            if recall < target:  # its speed does not matter
                break
        speed = speeds[leaves, reordered] = len(queries) / seconds
        curve.append({**labels, "wanted": wanted, "leaves": leaves, "reordered": reordered})
        curve[-1] |= {"recall": round(recall, 5), "queries_per_core_s": round(speed)}
        return recall, speed

    if 2 * wanted > LARGEST_SHARE * len(index):
        return None
    rows_grid = list(_geometric(2 * wanted, LARGEST_SHARE * len(index))) if has_codes else [wanted]
    for many in (-(-index.setup.num_leaves // 10), index.setup.num_leaves):
        enough = next((rows for rows in rows_grid if measure(many, rows)[0] >= target), None)
        if enough:
            break
    else:
        return None

    def reaches(leaves: int, reordered: int) -> bool:
        return measure(leaves, reordered)[0] >= target

    def least(grid: Iterable[int], reaches: Callable[[int], bool], otherwise: int) -> int:
        """The first number of a grid that reaches the target, or one between it and the number before that does too."""
        too_few = 0
        for number in grid:
            if reaches(number):
                while number - too_few > max(1, number // 16):
                    middle = (number + too_few) // 2
                    number, too_few = (middle, too_few) if reaches(middle) else (number, middle)
                return number
            too_few = number
        return otherwise

    leaves_grid = _geometric(2, index.setup.num_leaves)  # one alone loses what lies across its border
    fewest = least(leaves_grid, lambda number: reaches(number, (1 + has_codes) * enough), many)
    if not has_codes:
        return Effort(wanted, fewest, wanted)
    found = [(measure(many, enough)[1], Effort(wanted, many, enough))]
    for leaves in (fewest, *itertools.islice(leaves_grid, 2)):  # more partitions may do with fewer rows
        grid = [*(rows for rows in rows_grid if rows < 2 * enough), 2 * enough]
        rows = least(grid, functools.partial(reaches, leaves), 0)
        if rows:
            found.append((speeds[leaves, rows], Effort(wanted, leaves, rows)))
    return max(found)[1]


def _geometric(first: int, last: float) -> Iterator[int]:
    """Whole numbers from first to last, each about 1.4 times the one before."""
    number = first
    while number < last:
        yield number
        number = max(number + 1, round(1.4 * number))
    yield int(last)
