"""Average precision as the gallery grows: the test split's foregrounds, and more of its stream.

    python benchmarks/gallery_size.py --bundle=student=runs/demo/student/bundle \\
        --bundle="two streams"=runs/demo/two_streams/bundle --data_dir=data --size=demo \\
        [--sizes=500,2000,8000] [--workdir=FOLDER] [--output=FILE.json]

Queries are those of fos_synthetic's test split. A gallery of n foregrounds per category holds the first n of the
split's stream, the data set's first; all are rendered, none is a copy. Two ways of counting, both standard AP:

  grown        every foreground counts by its pattern: relevant ones grow in number as the others do
  distractors  relevant are those of the data set alone, and only foregrounds that do not fit the query are added

Each bundle ranks by cosine and by its posterior ("both" where it has it, else "flat"). One JSON line per bundle,
ranking and size. --workdir keeps embeddings and posteriors, chunk by chunk. A million foregrounds take two CPU
cores about 45 minutes.
"""

import argparse
import concurrent.futures
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from reporting import Report, make_parser, work_folder

if TYPE_CHECKING:
    from fos_jax.encoders.bundle import Bundle
    from fos_jax.pattern_table import PatternTable

CHUNK = 1024  # foregrounds of a category that are encoded and kept together


class Part(NamedTuple):
    """A category's foregrounds as one bundle sees them: pattern int32 [n], embedding [n, D], posterior [n, p]."""

    pattern: np.ndarray
    embedding: np.ndarray
    posterior: np.ndarray


def chunks(
    bundles: "dict[str, Bundle]", table: "PatternTable", category: str, n: int, workdir: Path
) -> Iterator[dict[str, Part]]:
    """The first n foregrounds of a category, `CHUNK` at a time, encoded by each bundle; renders what is not kept."""
    from tqdm import tqdm

    own = np.flatnonzero(table.category_of_pattern == table.category_id(category))
    for start in tqdm(range(0, n, CHUNK), desc=category, unit="chunk"):
        paths = {name: workdir / f"{category}-{start:07d}-{bundle.fingerprint}.npz" for name, bundle in bundles.items()}
        missing = [name for name in bundles if not paths[name].exists()]
        if missing:
            pattern, images = _render(category, start, {bundles[name].foreground_size for name in missing})
            labels = np.full(len(pattern), table.category_id(category), np.int32)
            for name in missing:
                encoded = bundles[name].encode_foregrounds(images[bundles[name].foreground_size], labels)
                part = Part(own[pattern], encoded.embedding, np.exp(encoded.log_posterior[:, own]))
                aside = paths[name].with_suffix(".tmp.npz")
                np.savez(aside, **part._asdict())
                aside.rename(paths[name])
        parts = {}
        for name, path in paths.items():
            with np.load(path) as kept:
                parts[name] = Part(*(kept[field][: n - start] for field in Part._fields))
        yield parts


def _render(category: str, start: int, sides: set[int]) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Pattern (inside the category) and pictures, at each side in pixels, of one chunk of the test stream."""
    from fos_jax.datasets.fos_synthetic import fos_synthetic_dataset_builder as data
    from fos_jax.images import prepare_cutout
    from fos_jax.scenes import streams

    def part(first: int) -> tuple[np.ndarray, dict[int, np.ndarray]]:
        scenes = streams.sample_scenes(data.SEED, "test", category, np.arange(first, first + streams.CHUNK))
        rendered = streams.render_cutouts(scenes, size=data.FOREGROUND_PX, samples=data.FOREGROUND_SAMPLES)
        return scenes.pattern, {side: np.stack([prepare_cutout(image, side) for image in rendered]) for side in sides}

    with concurrent.futures.ThreadPoolExecutor() as pool:  # beside a GPU, sampling and resizing are most of the work
        parts = list(pool.map(part, range(start, start + CHUNK, streams.CHUNK)))
    pattern = np.concatenate([pattern for pattern, _ in parts])
    return pattern, {side: np.concatenate([images[side] for _, images in parts]) for side in sides}


def average_precisions(
    scores: np.ndarray, compatible: np.ndarray, pattern: np.ndarray, num_own: int
) -> dict[str, np.ndarray]:
    """Average precision of each query by both ways of counting: float64 [q], NaN where nothing fits.

    Args:
      scores: float32 [q, n]. compatible: bool [q, P]. pattern: int [n]. num_own: foregrounds of the data set.
    """
    from fos_jax.metrics import average_precision, rank_relevant

    fits = compatible[:, pattern]
    is_own = np.arange(len(pattern)) < num_own
    return {
        "grown": average_precision(rank_relevant(scores, fits)),
        "distractors": average_precision(rank_relevant(scores, fits & is_own, ~fits | is_own)),
    }


def run(args: argparse.Namespace, workdir: Path) -> Iterator[dict[str, Any]]:
    """One line per bundle, ranking and size."""
    from fos_jax.data.splits import load_split
    from fos_jax.encoders.bundle import load_bundle

    bundles = {name: load_bundle(path) for name, path in args.bundle}
    sizes = sorted(set(args.sizes))
    found: dict[tuple[str, str, int, str], dict[str, float]] = {}
    queries, asked = {}, {}
    for name, bundle in bundles.items():
        sides = {"foreground_size": bundle.foreground_size, "query_size": bundle.query_size}
        split = {"size": args.size, "split": "test", "progress": False}
        foregrounds, asked[name], table = load_split(args.data_dir, **split, **sides)
        own_size, q = int(np.bincount(foregrounds.category).max()), asked[name]
        queries[name] = bundle.encode_queries(q.image, q.box_yxyx_norm, q.category)
    if sizes[0] < own_size:
        raise SystemExit(f"sizes: {sizes[0]}, expected at least the data set's {own_size}")
    for index, category in enumerate(table.categories):
        parts = list(chunks(bundles, table, category, sizes[-1], workdir))
        own = np.flatnonzero(table.category_of_pattern == index)
        for name, encoded in queries.items():
            rows = np.flatnonzero(asked[name].category == index)
            pattern, embedding, posterior = (
                np.concatenate([getattr(part[name], field) for part in parts]) for field in Part._fields
            )
            by_posterior = encoded.log_posterior_factorised is not None
            log_posterior = encoded.log_posterior_both if by_posterior else encoded.log_posterior_flat
            scores = {
                "cosine": encoded.embedding[rows] @ embedding.T,
                "both" if by_posterior else "flat": np.exp(log_posterior[np.ix_(rows, own)]) @ posterior.T,
            }
            compatible = np.asarray(asked[name].is_compatible)[rows]
            tasks = [(values[:, :n], compatible, pattern[:n], own_size) for values in scores.values() for n in sizes]
            with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:  # sorting lets others compute
                measured = list(pool.map(average_precisions, *zip(*tasks, strict=True)))
            for (ranking, n), by_way in zip(itertools.product(scores, sizes), measured, strict=True):
                for way, ap in by_way.items():
                    found.setdefault((name, ranking, n, way), {})[category] = float(np.nanmean(ap))
    for (name, ranking, n, way), by_category in found.items():
        yield {
            "method": name,
            "bundle": bundles[name].fingerprint,
            "ranking": ranking,
            "foregrounds_a_category": n,
            "counting": way,
            "map": round(float(np.mean(list(by_category.values()))), 4),
            "by_category": {category: round(value, 4) for category, value in by_category.items()},
        }


def _named(text: str) -> tuple[str, str]:
    name, _, path = text.partition("=")
    if not path:
        raise argparse.ArgumentTypeError(f"{text!r}, expected NAME=DIRECTORY")
    return name, path


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def main() -> None:
    parser = make_parser(__doc__, "data_dir", "size", "workdir", "output")
    parser.add_argument("--bundle", type=_named, action="append", help="NAME=DIRECTORY; may be given more than once")
    parser.add_argument("--sizes", type=_numbers, default=[500, 2000], help="foregrounds per category")
    args, report = parser.parse_args(), Report("gallery_size")
    args.bundle = args.bundle or [("student", "runs/demo/student/bundle")]
    if report.lacks(*(path for _, path in args.bundle)):
        return
    with work_folder(args.workdir) as workdir:
        for line in run(args, workdir):
            report(line)
    report.write(args.output)


if __name__ == "__main__":
    main()
