"""Queries per second, latency, memory and recall: our index against FAISS, hnswlib, ScaNN itself and exact search.

    python benchmarks/retrieval.py --bundle=runs/demo/student/bundle --data_dir=data [--rows=100000,1000000]
        [--real=61440] [--data=foregrounds,...] [--rankings=cosine,...] [--methods=ours,scann,...] [--build_only]
        [--workdir=FOLDER] [--plot=FILE.png] [--output=FILE.json]

Data, each unit vectors of 128 numbers and posteriors over a category's patterns:

  foregrounds  rendered and encoded by the bundle (kept in --workdir as gallery_size.py keeps them), shuffled. Beyond
               --real rows they are widened: each further row is a real one plus noise half as long as the distance to
               its nearest real neighbour, and its posterior is what the bundle's prototypes say of it. Queries are the
               photographs of all splits, encoded.
  clusters     Gaussian clusters around 1,000 centres, and posteriors of them, as a control.
  gaussian     Gaussian rows, and posteriors of them: nothing to find by.

Rankings: by embedding (cosine), by posterior, and combined (posterior plus 0.3 times cosine, in one index).
ScaNN is called with codes as its documentation advises, and (scann_leaves) with exact scores in its partitions.
Every method is tuned on one half of the queries, of its settings the fastest with recall@20 of --recall, and reported
on the other half. Ours is given that half when it is built; `ours_untold` makes queries of the rows, as where nobody
has any. An answer counts whose score reaches the exact 20th less 1e-6. Each method has a process of its own and all
cores; p50 and p99 are of single queries.
Each index is written to the --workdir by one process (`build_core_s`: seconds of one core) and opened by another
(`memory_mb`: what opening and searching it adds); data and indexes that are there are used again, so that a run with
--build_only leaves the timing to a quiet moment. Ours is also searched with filters that allow 50 %, 5 % and 0.1 % at
random, and combined at multiples of the usual weight. Without faiss-cpu or hnswlib (`pip install fos-jax[bench]`) a
line says so.
"""

import argparse
import concurrent.futures
import importlib
import importlib.util
import itertools
import json
import multiprocessing
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import widening
from reporting import Report, machine, make_parser, work_folder
from retrieval_indexes import EMBEDDING_SIZE, METHODS, K

USUAL_WEIGHT = 0.3
OURS = ("ours", "ours_untold")


class Sizes(NamedTuple):
    """What to build and how to ask: --recall, and how many queries are timed one by one."""

    recall: float
    singles: int


def widen(embeddings: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """float32 [n, d]: unit rows in random order, beyond the given ones with noise; see the module."""
    real = embeddings[rng.permutation(len(embeddings))[:n]]
    if n <= len(real):
        return real
    length = widening.noise_lengths(real)
    rows, missing = [real], n - len(real)
    while missing > 0:
        of = rng.permutation(len(real))[:missing]
        noise = rng.standard_normal((len(of), real.shape[1]), np.float32)
        rows.append(unit(real[of] + noise * (length[of] / np.linalg.norm(noise, axis=1))[:, None]))
        missing -= len(of)
    return rng.permutation(np.concatenate(rows))


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def clusters(n: int, num_queries: int, rng: np.random.Generator) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """ranking -> rows and queries."""
    centres = unit(rng.standard_normal((1000, EMBEDDING_SIZE), np.float32))

    def around(number: int) -> np.ndarray:
        noise = rng.standard_normal((number, EMBEDDING_SIZE), np.float32)
        return unit(centres[rng.integers(0, 1000, number)] + 0.6 / EMBEDDING_SIZE**0.5 * noise)

    return with_posteriors(around(n), around(num_queries), centres[:48])


def gaussian(n: int, num_queries: int, rng: np.random.Generator) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """ranking -> rows and queries."""
    rows, queries, prototypes = (
        unit(rng.standard_normal((number, EMBEDDING_SIZE), np.float32)) for number in (n, num_queries, 48)
    )
    return with_posteriors(rows, queries, prototypes)


def with_posteriors(
    rows: np.ndarray, queries: np.ndarray, prototypes: np.ndarray
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """ranking -> rows and queries; those of rows are sharper."""
    return {
        "cosine": (rows, queries),
        "posterior": (softmax(16 * rows @ prototypes.T), softmax(8 * queries @ prototypes.T)),
    }


def foregrounds(args: argparse.Namespace, workdir: Path, n: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """ranking -> rows and queries of the bundle's first category."""
    import gallery_size

    from fos_jax.encoders.bundle import load_bundle

    bundle = load_bundle(args.bundle)
    table, rng = bundle.table, np.random.default_rng(0)
    own = np.flatnonzero(table.category_of_pattern == 0)
    parts = list(gallery_size.chunks({"x": bundle}, table, table.categories[0], args.real, workdir))
    rows = widen(np.concatenate([part["x"].embedding for part in parts]), n, rng)
    posteriors = softmax(bundle.config.foreground.posterior_scale * rows @ bundle.prototypes[own].T)
    embeddings, asked = widening.encoded_queries(bundle, args.data_dir, args.size)
    order = rng.permutation(len(asked))[: args.queries]
    return {
        "cosine": (rows, embeddings[order]),
        "posterior": (np.asarray(posteriors, np.float32), asked[order]),
    }


def exact_kth(rows: np.ndarray, queries: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
    """float32 [q, 1]: the K-th best score."""
    from fos_jax.index.exact import ExactIndex

    return ExactIndex(rows).search(queries, K, allowed=allowed)[0][:, -1:]


def recall_of(rows: np.ndarray, queries: np.ndarray, found: np.ndarray, kth: np.ndarray) -> float:
    """Share of answers whose score reaches the K-th; -1 and repeated rows are no answers."""
    scores = np.matmul(rows[found], queries[:, :, None])[..., 0]
    ordered = np.sort(found, axis=1)
    repeated = (ordered[:, 1:] == ordered[:, :-1]).sum()
    return float(((scores >= kth - 1e-6) & (found >= 0)).sum() - repeated) / found.size


def timed(search: Callable[[np.ndarray], Any], queries: np.ndarray, singles: int) -> dict[str, float]:
    """Queries per second in one batch (best of 3), of all cores and per second of one, and p50 and p99 of singles."""
    wall, cpu = [], []
    for _ in range(3):
        before, started = time.process_time(), time.perf_counter()
        search(queries)
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - before)
    single = []
    for query in queries[:singles]:
        started = time.perf_counter()
        search(query[None])
        single.append(1000 * (time.perf_counter() - started))
    p50, p99 = np.quantile(single, [0.5, 0.99])
    speeds = {"batch_per_s": round(len(queries) / min(wall), 1), "batch_per_core_s": round(len(queries) / min(cpu), 1)}
    return {**speeds, "p50_ms": round(float(p50), 4), "p99_ms": round(float(p99), 4)}


def build(name: str, ranking: str, folder: Path, recall: float) -> None:
    """Writes the index of a method unless it is there, in a process of its own; vectors lie in the folder."""
    target = folder / f"index_{name}"
    if target.exists():
        return
    rows = np.array(np.load(folder / "rows.npy"))
    importlib.import_module(METHODS[name].needs)
    aside, started = folder / f"building_{name}", time.process_time()
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    METHODS[name].build(rows, ranking, aside, recall, np.load(folder / "queries.npy")[::2])
    peak_mb = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    about = {"build_core_s": round(time.process_time() - started, 1), "build_peak_mb": peak_mb}
    (folder / f"built_{name}.json").write_text(json.dumps(about))
    aside.rename(target)


def measure(name: str, folder: Path, sizes: Sizes) -> list[dict[str, Any]]:
    """One line per setting of a method, in a process of its own."""
    method = METHODS[name]
    rows, queries, kth = (np.load(folder / f"{part}.npy", mmap_mode="r") for part in ("rows", "queries", "kth"))
    is_exact = name in ("faiss_flat", "numpy")
    tuning, tuning_kth, asked, kth = (np.array(of) for of in (queries[::2], kth[::2], queries[1::2], kth[1::2]))
    asked = asked[:50] if is_exact else asked
    importlib.import_module(method.needs)
    before = _resident_mb()
    index = method.load(rows, folder / f"index_{name}")
    method.search(index, method.settings[0], asked)
    about = {"memory_mb": round(_resident_mb() - before), **json.loads((folder / f"built_{name}.json").read_bytes())}
    lines = []
    for setting in method.settings:

        def search(some: np.ndarray, setting: Any = setting) -> np.ndarray:
            return method.search(index, setting, some)

        recall = recall_of(rows, asked, search(asked), kth[: len(asked)])
        in_tuning = 1.0 if is_exact else recall_of(rows, tuning, search(tuning), tuning_kth)
        if in_tuning >= 0.8:  # what is far from the target is no point of the curve
            recalls = {"recall": round(recall, 4), "tuning_recall": round(in_tuning, 4)}
            speed = timed(search, asked, 20 if is_exact else sizes.singles)
            lines.append({"method": name, "setting": setting, **recalls, **speed, **about})
        if in_tuning >= 0.9995:
            break
    return lines


def filtered(ranking: str, folder: Path, singles: int) -> list[dict[str, Any]]:
    """Our index under random filters."""
    from fos_jax.index.build import open_index

    rows, queries = np.load(folder / "rows.npy", mmap_mode="r"), np.load(folder / "queries.npy")[:200]
    index, lines = open_index(folder / "index_ours", rows), []
    for share in (0.999, 0.5, 0.05, 0.001):
        allowed = np.random.default_rng(0).random(len(rows)) < share
        found = index.search(queries, K, allowed=allowed)[1]
        recall = recall_of(rows, queries, found, exact_kth(rows, queries, allowed))
        speed = timed(lambda some, allowed=allowed: index.search(some, K, allowed=allowed), queries, singles)
        lines.append({"method": "ours", "allowed": share, "recall": round(recall, 4), **speed})
    return lines


def at_multiples(folder: Path, singles: int) -> list[dict[str, Any]]:
    """Our combined index at multiples of the usual weight of the embedding."""
    from fos_jax.index.build import open_index

    rows, queries = np.load(folder / "rows.npy", mmap_mode="r"), np.load(folder / "queries.npy")[:300]
    index, lines = open_index(folder / "index_ours", rows), []
    for multiple in (0, 0.1, 0.3, 1, 3, 10):
        asked = queries.copy()
        asked[:, -EMBEDDING_SIZE:] *= multiple
        recall = recall_of(rows, asked, index.search(asked, K)[1], exact_kth(rows, asked))
        speed = timed(lambda some: index.search(some, K), asked, singles)
        lines.append({"method": "ours", "multiple": multiple, "recall": round(recall, 4), **speed})
    return lines


def prepare(args: argparse.Namespace, workdir: Path, data: str, n: int) -> dict[str, Path]:
    """ranking -> folder with rows, queries and their exact scores, which are made unless they are there."""
    folders = {ranking: workdir / f"{data}-{n}-{ranking}" for ranking in ("cosine", "posterior", "combined")}
    if all((folder / "kth.npy").exists() for folder in folders.values()):
        return folders
    if data == "foregrounds":
        made = foregrounds(args, workdir, n)
    else:
        made = {"clusters": clusters, "gaussian": gaussian}[data](n, args.queries, np.random.default_rng(0))
    (rows, queries), (row_embeddings, query_embeddings) = made["posterior"], made["cosine"]
    joined = np.concatenate([rows, np.float32(USUAL_WEIGHT) * row_embeddings], axis=1)  # weighed, as in a gallery
    made["combined"] = (joined, np.concatenate([queries, query_embeddings], axis=1))
    for ranking, (rows, queries) in made.items():
        folders[ranking].mkdir(exist_ok=True)
        for part, values in (("rows", rows), ("queries", queries), ("kth", exact_kth(rows, queries))):
            np.save(folders[ranking] / f"{part}.npy", values)
    return folders


def run(args: argparse.Namespace, workdir: Path) -> Iterator[dict[str, Any]]:
    """Every line."""
    lacking = {name for name in args.methods if importlib.util.find_spec(METHODS[name].needs) is None}
    if lacking:
        yield {"skipped": f"{', '.join(sorted(lacking))}: not installed (pip install fos-jax[bench])"}
    methods = [name for name in args.methods if name not in lacking]
    for n, data in itertools.product(args.rows, args.data):
        for ranking, folder in prepare(args, workdir, data, n).items():
            if ranking not in args.rankings:
                continue
            for name in methods:
                _alone(build, name, ranking, folder, args.recall)
            size = np.load(folder / "rows.npy", mmap_mode="r").shape[1]
            about = {"data": data, "rows": n, "size": size, "ranking": ranking, "k": K, **machine()}
            tasks: list[tuple] = [(measure, name, folder, Sizes(args.recall, args.singles)) for name in methods]
            if "ours" in methods:
                tasks.append((filtered, ranking, folder, args.singles))
                tasks += [(at_multiples, folder, args.singles)] * (ranking == "combined")
            for task in () if args.build_only else tasks:
                yield from ({**about, **line} for line in _alone(*task))


def chosen(lines: list[dict[str, Any]], target: float) -> list[dict[str, Any]]:
    """Per data, number of rows, ranking and method the fastest line that reaches the target in tuning."""
    best: dict[tuple, dict[str, Any]] = {}
    for line in lines:
        if "setting" in line and (line["tuning_recall"] >= target or line["method"] in OURS):
            key = tuple(line[field] for field in ("data", "rows", "ranking", "method"))
            if key not in best or line["p50_ms"] < best[key]["p50_ms"]:
                best[key] = line
    return list(best.values())


def plot(lines: list[dict[str, Any]], path: str) -> None:
    """Recall against queries per second in batches, one panel per data, number of rows and ranking."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = sorted({(line["data"], line["rows"], line["ranking"]) for line in lines if "setting" in line})
    across = min(3, len(panels))
    figure, axes = pyplot.subplots(-(-len(panels) // across), across, squeeze=False)
    figure.set_size_inches(5 * across, 4 * len(axes))
    colours = {name: f"C{number}" for number, name in enumerate(METHODS)}
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    for axis, panel in zip(axes.flat, panels, strict=False):
        own = [line for line in lines if "setting" in line and (line["data"], line["rows"], line["ranking"]) == panel]
        for name in dict.fromkeys(line["method"] for line in own):
            points = sorted((line["recall"], line["batch_per_s"]) for line in own if line["method"] == name)
            style = "*" if name in OURS else ".-" if len(points) < 10 else "."
            size = 12 if name in OURS else 5
            axis.plot(*zip(*points, strict=True), style, label=name, markersize=size, color=colours[name])
        axis.set(title=f"{panel[0]}, {panel[1]:,} rows, {panel[2]}", xlabel="recall@20", yscale="log")
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("queries per second, batch")
    axes[0, 0].legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def _alone(function: Callable[..., Any], *arguments: Any) -> Any:
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(function, *arguments).result()


def _resident_mb() -> float:
    if sys.platform != "linux":
        return 0.0
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def main() -> None:
    parser = make_parser(__doc__, "bundle", "data_dir", "size", "workdir", "output")
    parser.add_argument("--rows", type=lambda t: [*map(int, t.split(","))], default=[100_000], help="numbers of rows")
    parser.add_argument("--real", type=int, default=61_440, help="foregrounds to render; more rows are widened")
    parser.add_argument("--queries", type=int, default=1000, help="at most so many queries")
    parser.add_argument("--singles", type=int, default=300, help="queries that are timed one by one")
    parser.add_argument("--recall", type=float, default=0.99, help="recall@20 to reach")
    parser.add_argument("--methods", type=lambda t: t.split(","), default=[*METHODS], help="some of the methods")
    parser.add_argument("--data", type=lambda t: t.split(","), default=["foregrounds", "clusters", "gaussian"])
    parser.add_argument("--rankings", type=lambda t: t.split(","), default=["cosine", "posterior", "combined"])
    parser.add_argument("--build_only", action="store_true", help="time nothing")
    parser.add_argument("--plot", help="file of the picture of all curves")
    args, report = parser.parse_args(), Report("retrieval")
    if "foregrounds" in args.data and report.lacks(args.bundle, args.data_dir):
        return
    with work_folder(args.workdir) as workdir:
        for line in run(args, workdir):
            report(line)
    for line in chosen(report.lines, args.recall):
        print(*(f"{key} {line[key]}" for key in ("data", "rows", "ranking", "method", "setting", "recall")), end=" ")
        print(f"{line['batch_per_s']:,.0f}/s, {line['p50_ms']} and {line['p99_ms']} ms", end=" ")
        print(f"{line['build_core_s']} core seconds to build, {line['memory_mb']} MB")
    if args.plot:
        plot(report.lines, args.plot)
    report.write(args.output, chosen=chosen(report.lines, args.recall))


if __name__ == "__main__":
    main()
