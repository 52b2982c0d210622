"""Memory, disk, building, opening and queries of a gallery by its size, and what follows for larger ones.

  python benchmarks/scale.py --bundle=runs/demo/student/bundle --data_dir=data --workdir=FOLDER \\
      --rows=10000,100000,1000000 --output=results/scale.json
  python benchmarks/scale.py --output=results/scale.json --render=docs/scale.md

A gallery of one category holds rendered foregrounds (as `gallery_size.py` renders and keeps them) and beyond their
number the same with noise (`widening.py`): embeddings of 128 numbers, posteriors of the category's patterns, ids and
metadata, no pictures. Queries are encoded photographs, one after another, k = 20, by `CategoryRows.search`. Building
and searching happen in processes of their own. One JSON line per number of rows:

  build_s, build_cpu_s   of `write_gallery`; the CPU-seconds of making the foregrounds are taken off the latter
  build_mb               most anonymous memory while building
  ..._mb                 on the disk: vectors, indexes (of embeddings, of posteriors), metadata with ids
  open_s, memory_mb      opening in a new process, and its anonymous memory after the queries
  p50_ms, p99_ms, cpu_ms of single queries, by ranking: latency, and CPU time per query
  filter_ms              masks of aspect and enlargement, without the search among what they leave
  recall                 that the index reached when it was built

A size that needs more than --memory_gib of anonymous memory ends with a line that says so. --output keeps the lines of
earlier runs for other sizes. --render writes what `scale_table.py` makes of the lines into a document.
"""

import concurrent.futures
import contextlib
import dataclasses
import json
import multiprocessing
import resource
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scale_table
import widening
from reporting import Report, machine, make_parser, work_folder

from fos_jax.gallery.foregrounds import Foregrounds
from fos_jax.gallery.gallery import Gallery
from fos_jax.index.build import recall_of
from fos_jax.retrieval.rules import Filters, Place

K = 20
RANKINGS = ("cosine", "posterior")


def anonymous_mb() -> float:
    """Memory of this process that no file stands behind."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


@contextlib.contextmanager
def peak_of(line: dict[str, Any], name: str) -> Iterator[None]:
    """Adds the most anonymous memory of a block, in MB, ten times per second looked at, less what was there before."""
    before = most = anonymous_mb()
    is_over = threading.Event()

    def watch() -> None:
        nonlocal most
        while not is_over.wait(0.1):
            most = max(most, anonymous_mb())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        line[name] = round(max(most, anonymous_mb()) - before)


def build(args: Any, rows: int, folder: Path) -> dict[str, Any]:
    """Figures of writing a gallery into the folder."""
    from fos_jax.encoders.bundle import load_bundle

    of = widening.rendered(load_bundle(args.bundle), args.data_dir, args.size, min(args.real, rows), Path(args.workdir))
    bare = of._replace(foregrounds=dataclasses.replace(of.foregrounds, thumbnails=[b""] * len(of.foregrounds)))
    making = [0.0]

    def batches() -> Iterator[Foregrounds]:
        found = widening.widened(bare, rows)
        while True:
            started = time.process_time()
            batch = next(found, None)
            making[0] += time.process_time() - started
            if batch is None:
                return
            yield batch

    limit = int(args.memory_gib * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    line: dict[str, Any] = {}
    with peak_of(line, "build_mb"):
        started, before = time.monotonic(), time.process_time()
        widening.write(folder, batches(), bare)
        line["build_s"] = round(time.monotonic() - started, 1)
        line["build_cpu_s"] = round(time.process_time() - before - making[0], 1)
    return line | on_disk(folder)


def on_disk(folder: Path) -> dict[str, Any]:
    """Size of a gallery's files, by kind, and of its category's posteriors."""
    sizes = dict.fromkeys(("vectors", "cosine_index", "posterior_index", "metadata"), 0)
    recall = dict.fromkeys(RANKINGS, 1.0)
    for path in folder.rglob("*"):
        if path.name == "index.json":
            recall[path.parent.name.removeprefix("index_")] = recall_of(json.loads(path.read_bytes()))
        if path.is_file():
            index = path.parent.name.removeprefix("index_")
            is_vectors = path.name in ("embeddings.npy", "vectors.npy")
            kind = f"{index}_index" if index in RANKINGS else "vectors" if is_vectors else "metadata"
            sizes[kind] += path.stat().st_size
    return {f"{kind}_mb": round(size / 1e6, 1) for kind, size in sizes.items()} | {
        f"{ranking}_recall": round(recall[ranking], 4) for ranking in RANKINGS
    }


def search(args: Any, folder: Path, queries: dict[str, np.ndarray]) -> dict[str, Any]:
    """Figures of opening a gallery and of single queries."""
    before, started = anonymous_mb(), time.monotonic()
    gallery = Gallery.open(folder)
    line: dict[str, Any] = {"open_s": round(time.monotonic() - started, 3)}
    (category,) = gallery.manifest["built"]["counts"]
    rows = gallery.snapshot().category(category)
    for ranking in RANKINGS:
        asked, took = queries[ranking], []
        for vector in asked:  # maps the files into memory
            rows.search(vector, ranking, K)
        cpu = time.process_time()
        for vector in asked:
            started = time.perf_counter()
            rows.search(vector, ranking, K)
            took.append(1e3 * (time.perf_counter() - started))
        line[f"{ranking}_cpu_ms"] = round(1e3 * (time.process_time() - cpu) / len(asked), 4)
        line |= {f"{ranking}_p{q}_ms": round(float(np.percentile(took, q)), 3) for q in (50, 99)}
    line["memory_mb"] = round(anonymous_mb() - before)
    place, took = Place((100, 100, 300, 250), 640, 480), []
    for tolerance in 1.5 + np.arange(21) / 20:
        started = time.perf_counter()
        Filters(aspect_tolerance=float(tolerance), max_upscale=1.5).allowed(rows, place)
        took.append(1e3 * (time.perf_counter() - started))
    line["filter_ms"] = round(float(np.median(took)), 2)
    return line | {"size": gallery.layout.embedding_size, "patterns": len(gallery.layout.patterns(category))}


def alone(function: Any, *arguments: Any) -> Any:
    """The function's result, from a process of its own."""
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def measured(args: Any) -> Iterable[dict[str, Any]]:
    """One line per number of rows."""
    from fos_jax.encoders.bundle import load_bundle

    embeddings, posteriors = widening.encoded_queries(load_bundle(args.bundle), args.data_dir, args.size)
    order = np.random.default_rng(0).permutation(len(embeddings))[: args.queries]
    queries = {"cosine": embeddings[order], "posterior": posteriors[order]}
    for rows in args.rows:
        folder, line = Path(args.workdir) / f"scale-{rows}", {"rows": rows}
        kept = folder.with_suffix(".json")
        try:
            if not kept.exists():
                kept.write_text(json.dumps(alone(build, args, rows, folder)))
            yield line | json.loads(kept.read_text()) | alone(search, args, folder, queries) | machine()
        except (concurrent.futures.process.BrokenProcessPool, MemoryError):
            yield line | {"failed": f"more than {args.memory_gib} GiB of anonymous memory"}
        if not args.keep:
            kept.unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = make_parser(__doc__, "bundle", "data_dir", "size", "workdir", "output")
    parser.add_argument("--rows", type=lambda t: [*map(int, t.split(","))], default=[], help="numbers of foregrounds")
    parser.add_argument("--real", type=int, default=61_440, help="foregrounds to render; more are widened")
    parser.add_argument("--queries", type=int, default=1000, help="at most so many queries")
    parser.add_argument("--memory_gib", type=float, default=16, help="anonymous memory that building may take")
    parser.add_argument("--keep", action="store_true", help="keep the galleries in --workdir; they are not built again")
    parser.add_argument("--render", help="document to render the lines of --output into")
    args, report = parser.parse_args(), Report("scale")
    if args.rows:
        if report.lacks(args.bundle, args.data_dir):
            return
        earlier = []
        if args.output and Path(args.output).exists():
            earlier = [
                line for line in json.loads(Path(args.output).read_bytes())["lines"] if line["rows"] not in args.rows
            ]
        with work_folder(args.workdir) as workdir:
            args.workdir = str(workdir)
            for line in measured(args):
                report(line)
        report.lines = sorted([*earlier, *report.lines], key=lambda line: line["rows"])
        report.write(args.output)
    if args.render:
        scale_table.write(args.render, scale_table.render(json.loads(Path(args.output).read_bytes())))


if __name__ == "__main__":
    main()
