"""A gallery that is changed while it is searched: latencies with and without changes, recall, time to open.

  python benchmarks/gallery_changes.py --rows=1000000 --seconds=120 --changes_per_s=100

Foregrounds are made up: embeddings around random centres, posteriors near one pattern, tiny pictures. One process
searches without a pause, by embedding and by posterior in turns; another adds, replaces and removes single foregrounds
at the given rate. Prints one JSON line: milliseconds of searches before, during and after the changes, how long a
change took to be on the disk and to be seen by the searching process, recall of the best k against exact search before
and after, seconds to open the gallery in a process of its own, and after a compaction beside searches the same again.
"""

import multiprocessing
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from reporting import Report, machine, make_parser

from fos_jax.gallery.building import new_gallery, write_gallery
from fos_jax.gallery.compaction import compact
from fos_jax.gallery.foregrounds import Foregrounds, Layout, make_foregrounds
from fos_jax.gallery.gallery import Gallery
from fos_jax.gallery.indexing import Indexing
from fos_jax.gallery.snapshot import RankBy
from fos_jax.gallery.writer import GalleryWriter
from fos_jax.pattern_table import Pattern, PatternTable

CATEGORY = "car"
BATCH = 10_000
NUM_CENTRES = 1_000
OPEN = "import sys, time; t = time.monotonic(); from fos_jax.gallery.gallery import Gallery; u = time.monotonic();"
OPEN += "g = Gallery.open(sys.argv[1]); v = time.monotonic(); print(u - t, v - u)"


class World:
    """Made-up foregrounds and queries, the same for the same seed."""

    def __init__(self, size: int, patterns: int, seed: int):
        table = PatternTable(
            (CATEGORY,),
            {CATEGORY: {"number": tuple(map(str, range(patterns)))}},
            tuple(Pattern(i, CATEGORY, {"number": str(i)}, f"pattern {i}", i, {"train": 1}) for i in range(patterns)),
        )
        self.layout = Layout(table, size, {}, {})
        self.patterns = patterns
        self._centres = np.random.default_rng(0).normal(size=(NUM_CENTRES, size)).astype(np.float32)
        self.rng = np.random.default_rng(seed)

    def embeddings(self, n: int) -> np.ndarray:
        """float32 [n, size], unit."""
        spread = self.rng.normal(scale=0.6, size=(n, self._centres.shape[1])).astype(np.float32)
        values = self._centres[self.rng.integers(0, NUM_CENTRES, n)] + spread
        return values / np.linalg.norm(values, axis=1, keepdims=True)

    def posteriors(self, n: int) -> np.ndarray:
        """float32 [n, patterns]."""
        return self.rng.dirichlet(np.full(self.patterns, 0.2), n).astype(np.float32)

    def foregrounds(self, ids: list[str]) -> Foregrounds:
        """With pictures of a few bytes."""
        pictures = [b"x" * 64] * len(ids)
        return make_foregrounds(
            CATEGORY,
            ids,
            self.embeddings(len(ids)),
            self.posteriors(len(ids)),
            layout=self.layout,
            thumbnails=pictures,
            cutouts=pictures,
            source_id=[f"photograph {i}" for i in self.rng.integers(0, 1_000, len(ids))],
            licence=["CC0"] * len(ids),
        )


def build(path: Path, args: Any) -> float:
    """Writes the gallery; returns seconds."""
    world, started = World(args.size, args.patterns, 1), time.monotonic()

    def batches() -> Iterator[Foregrounds]:
        for start in range(0, args.rows, BATCH):
            yield world.foregrounds([f"fg{i}" for i in range(start, min(args.rows, start + BATCH))])

    settings = {
        "bundle": {"fingerprint": "made up", "path": "none", "relative_path": "none"},
        "mirror": False,
        "cutouts": "copy",
        "thumbnail_size": 16,
    }
    with new_gallery(path) as folder:
        write_gallery(
            folder, batches(), world.layout, settings, indexing=Indexing(args.index_min_rows), source="made up"
        )
    return time.monotonic() - started


def change(path: Path, args: Any, done: Any) -> None:
    """Changes single foregrounds at a rate; sends (sequence number, when it was asked for, when it was on the disk)."""
    world, held, told = World(args.size, args.patterns, 2), [f"fg{i}" for i in range(args.rows)], []
    with GalleryWriter(path) as writer:
        started = time.monotonic()
        for number in range(int(args.seconds * args.changes_per_s)):
            due = started + number / args.changes_per_s
            time.sleep(max(0.0, due - time.monotonic()))
            if time.monotonic() - started > args.seconds + 1:
                break  # slower than the rate asks for
            chosen, asked = int(world.rng.integers(len(held))), time.monotonic()
            if number % 10 < 5:
                held.append(f"new{number}")
                sequence = writer.add([world.foregrounds([held[-1]])])
            elif number % 10 < 8:
                held[chosen], held[-1] = held[-1], held[chosen]
                sequence = writer.remove([held.pop()])
            else:
                sequence = writer.replace([world.foregrounds([held[chosen]])])
            told.append((sequence, asked, time.monotonic()))
    done.put(told)


class Searches:
    """Searches one after another, and what they took."""

    def __init__(self, gallery: Gallery, args: Any):
        world = World(args.size, args.patterns, 3)
        self.gallery, self.k = gallery, args.k
        self.queries: list[tuple[RankBy, np.ndarray]] = []
        for embedding, posterior in zip(world.embeddings(100), world.posteriors(100), strict=True):
            self.queries += [("cosine", embedding), ("posterior", posterior)]
        self.seen: dict[int, float] = {}

    def run(self, is_over: Any) -> dict[str, float]:
        """Until `is_over()`: milliseconds at the median and the 99th percentile, and searches per second."""
        took: dict[str, list[float]] = {"cosine": [], "posterior": []}
        began, number = time.monotonic(), 0
        while not is_over():
            ranking, vector = self.queries[number % len(self.queries)]
            started = time.perf_counter()
            state = self.gallery.snapshot()
            state.category(CATEGORY).search(vector, ranking, self.k)
            took[ranking].append(1e3 * (time.perf_counter() - started))
            self.seen.setdefault(state.sequence, time.monotonic())
            number += 1
        figures = {"searches_per_s": round(number / (time.monotonic() - began), 1)}
        for name, values in (*took.items(), ("all", took["cosine"] + took["posterior"])):
            figures |= {f"{name}_p{q}_ms": round(float(np.percentile(values, q)), 2) for q in (50, 99)}
        return figures

    def recall(self) -> dict[str, float]:
        """Share of the best k whose score reaches the exact k-th, by ranking."""
        rows, found = self.gallery.refresh().category(CATEGORY), dict[str, list[float]]()
        for ranking, vector in self.queries:
            scores, _ = rows.search(vector, ranking, self.k)
            exact, _ = rows.search(vector, ranking, self.k, is_exact=True)
            assert len(scores) == len(exact)
            found.setdefault(ranking, []).append(float(np.mean(scores >= exact[-1] - 1e-6)))
        return {ranking: round(float(np.mean(values)), 4) for ranking, values in found.items()}


def open_s(path: Path) -> float:
    """Seconds of opening in a new process, imports apart; the files may still be in memory."""
    told = subprocess.run([sys.executable, "-c", OPEN, path], capture_output=True, text=True, check=True).stdout
    return round(float(told.split()[1]), 3)


def seconds(n: float) -> Any:
    """Whether n seconds from now are over."""
    end = time.monotonic() + n
    return lambda: time.monotonic() > end


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="foregrounds at first, of one category")
    parser.add_argument("--size", type=int, default=128, help="numbers in an embedding")
    parser.add_argument("--patterns", type=int, default=16, help="numbers in a posterior")
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=120, help="of changes")
    parser.add_argument("--changes_per_s", type=float, default=100)
    parser.add_argument("--index_min_rows", type=int, default=20_000)
    parser.add_argument("--folder", help="where the gallery goes; removed afterwards unless it is named")
    args, report = parser.parse_args(), Report("gallery_changes")
    folder = Path(args.folder or tempfile.mkdtemp())
    path = folder / "gallery"
    try:
        build_s = build(path, args)
        line: dict[str, Any] = {"rows": args.rows, "size": args.size, "patterns": args.patterns, "k": args.k}
        line |= {"build_s": round(build_s, 1), "open_s": open_s(path)}
        gallery = Gallery.open(path)
        searches = Searches(gallery, args)
        searches.run(seconds(min(5.0, args.seconds)))
        line["recall_before"] = searches.recall()
        line["without_changes"] = searches.run(seconds(min(30.0, args.seconds)))
        context = multiprocessing.get_context("spawn")
        done = context.SimpleQueue()
        process = context.Process(target=change, args=(path, args, done))
        process.start()
        line["with_changes"] = searches.run(lambda: not done.empty())
        told = done.get()
        process.join()
        gallery.refresh()
        searches.run(seconds(0.5))
        seen = np.array(sorted(searches.seen.items()))
        visible = [seen[np.searchsorted(seen[:, 0], number), 1] - at for number, _, at in told]
        line["changes_per_s"] = round(len(told) / (told[-1][2] - told[0][1]), 1)
        for name, values in (("durable", [at - asked for _, asked, at in told]), ("visible", visible)):
            line |= {f"{name}_p{q}_ms": round(1e3 * float(np.percentile(values, q)), 1) for q in (50, 99, 100)}
        line["recall_after"] = searches.recall()
        line["after_changes"] = searches.run(seconds(min(10.0, args.seconds)))
        line["open_changed_s"] = open_s(path)
        started = time.monotonic()
        compacting = context.Process(target=compact, args=(path,))
        compacting.start()
        line["beside_compaction"] = searches.run(lambda: not compacting.is_alive())
        line["compaction_s"] = round(time.monotonic() - started, 1)
        gallery.refresh()
        line["recall_compacted"] = searches.recall()
        line["compacted"] = searches.run(seconds(min(10.0, args.seconds)))
        gallery.close()
        report(line | machine())
    finally:
        if not args.folder:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
