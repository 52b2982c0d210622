"""S-FOSD and R-FOSD as records: annotations with the files they name, and their splits; no image is opened.

No two of train, validation and test share a photograph, and no label points from one into another.
"""

import dataclasses
import hashlib
from collections.abc import Iterable
from pathlib import Path

from fos_jax.datasets.builders import Problem, Report, shown
from fos_jax.datasets.fosd import annotations
from fos_jax.datasets.fosd.annotations import Annotation, read_segmentations
from fos_jax.datasets.fosd.checks import Tree, identifier, mask_place, source_id
from fos_jax.errors import InputError

BENCHMARKS = ("sfosd", "rfosd")
PARTS = ("train", "test")


@dataclasses.dataclass(frozen=True)
class Foreground:
    """A cut-out that can be made: its files, opened by nobody yet.

    Attributes:
      id: what its files share; source_id: the ImageID in it.
      category: name.
      image: the object on white, cropped.
      mask: of the whole photograph.
      frame: the photograph with the object's box filled, None where it is missing (the mask gives the size then).
      box_xyxy_norm: the object's box in the photograph.
    """

    id: str
    source_id: str
    category: str
    image: Path
    mask: Path
    frame: Path | None
    box_xyxy_norm: tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True)
class Query:
    """A background with its rectangle and labels; ids as in `Foreground`.

    Attributes:
      id: the object's id; for R-FOSD's test set `<category>/<background>`, since backgrounds have no object there.
      background: full frame, opened by nobody yet.
      box_xyxy_norm: as annotated, may overshoot 0..1.
    """

    id: str
    source_id: str
    category: str
    background: Path
    box_xyxy_norm: tuple[float, float, float, float]
    foreground_id: str
    relevant: tuple[str, ...]
    irrelevant: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """S-FOSD or R-FOSD: part (train or test) -> foregrounds by id and queries. Categories are sorted as FOSD does."""

    categories: tuple[str, ...]
    foregrounds: dict[str, dict[str, Foreground]]
    queries: dict[str, list[Query]]


def read_benchmark(manual_dir: str | Path, benchmark: str, report: Report) -> Benchmark:
    """Reads all annotations of one benchmark and finds their files; no image is opened.

    Train leaves out what shares a photograph with the test set (a note says how much), and labels that point there.

    Args:
      manual_dir: FOSD's folder `data`, with `train` and `test` in it.
      benchmark: "sfosd" or "rfosd".
      report: takes every deviation; the result holds only what is whole.
    """
    if benchmark not in BENCHMARKS:
        raise InputError(f"benchmark: unknown {benchmark!r}, expected one of {', '.join(BENCHMARKS)}")
    tree = Tree(manual_dir)
    category_file = "train/labels/category.json"
    category_of = annotations.read_categories(tree.root / category_file, category_file, report)
    categories = set(category_of.values())
    train_file = f"train/labels/train_{benchmark}.json"
    train = annotations.read_train(tree.root / train_file, train_file, category_of, report)
    frames = tree.first("test/bg_set1", "test/bg", report=report)
    if benchmark == "sfosd":
        test_file = tree.first("test/labels/test_set1.json", "test/labels/test.json", report=report)
        backgrounds = frames
        test, test_category_of = annotations.read_test_set1(tree.root / test_file, test_file, categories, report)
    else:
        test_file = "test/labels/test_set2.json"
        backgrounds = "test/bg_set2"
        test, test_category_of = annotations.read_test_set2(tree.root / test_file, test_file, categories, report)

    test_sources = {source_id(i) for i in test_category_of} | {source_id(identifier(q.background)) for q in test}
    kept = [query for query in train if source_id(query.foreground_id) not in test_sources]
    if len(kept) < len(train):
        got = f"{len(train) - len(kept)} backgrounds whose photograph is in the test set too"
        report(Problem(train_file, "top level", got, "none (left out of train)", is_error=False))
    wanted = {query.foreground_id: query.category for query in kept}
    unknown: set[str] = set()
    for query in kept:
        for object_id in (*query.relevant, *query.irrelevant):
            if object_id not in wanted and source_id(object_id) not in test_sources:
                if object_id in category_of:
                    wanted[object_id] = category_of[object_id]
                elif object_id not in unknown:
                    unknown.add(object_id)
                    report(Problem(train_file, query.key, shown(object_id), "a foreground of category.json"))
    foregrounds = {
        "train": _find_foregrounds(tree, "train", "train/bg", wanted, report),
        "test": _find_foregrounds(tree, "test", frames, test_category_of, report),
    }
    queries = {
        "train": _find_queries(tree, "train/bg", kept, train_file, foregrounds["train"], report),
        "test": _find_queries(tree, backgrounds, test, test_file, foregrounds["test"], report),
    }
    return Benchmark(tuple(sorted(categories)), foregrounds, queries)


def _find_foregrounds(
    tree: Tree, part: str, frames: str, wanted: dict[str, str], report: Report
) -> dict[str, Foreground]:
    """The wanted foregrounds (id -> category), in that order, with their boxes from the part's segmentations."""
    file = f"{part}/labels/segmentations.csv"
    boxes: dict[str, tuple[float, float, float, float]] = {}
    for row in read_segmentations(tree.root / file, file, report):
        if row.object_id in wanted:
            if row.object_id in boxes:
                report(Problem(file, f"line {row.line}, MaskPath", f"{shown(row.object_id)} again", "each mask once"))
            boxes[row.object_id] = row.box_xyxy_norm
    out = {}
    for object_id, category in wanted.items():
        image = tree.find(f"{part}/fg", object_id + ".png")
        place = mask_place(object_id)
        mask = tree.find(f"{part}/labels/masks/{place.split('/')[0]}", f"{object_id}.png")
        if image is None:
            report(Problem(f"{part}/fg/{object_id}", "", "no such file", ".png or .jpg (an annotated foreground)"))
        if mask is None:
            report(Problem(f"{part}/labels/masks/{place}", "", "no such file", f"the mask of {part}/fg/{object_id}"))
        if object_id not in boxes:
            report(Problem(file, "MaskPath", f"no row for {shown(object_id)}", "one (an annotated foreground)"))
        if image is not None and mask is not None and object_id in boxes:
            frame = tree.find(frames, object_id + ".png")
            out[object_id] = Foreground(object_id, source_id(object_id), category, image, mask, frame, boxes[object_id])
    return out


def _find_queries(
    tree: Tree,
    folder: str,
    annotated: Iterable[Annotation],
    file: str,
    foregrounds: dict[str, Foreground],
    report: Report,
) -> list[Query]:
    out = []
    for entry in annotated:
        background = tree.find(folder, entry.background)
        if background is None:
            expected = f"the background of {file}, {entry.key} (.png or .jpg)"
            report(Problem(f"{folder}/{entry.background}", "", "no such file", expected))
            continue
        stem = identifier(entry.background)
        out.append(
            Query(
                id=entry.foreground_id or f"{entry.category}/{stem}",
                source_id=source_id(stem) if entry.foreground_id else stem,
                category=entry.category,
                background=background,
                box_xyxy_norm=entry.box_xyxy_norm,
                foreground_id=entry.foreground_id if entry.foreground_id in foregrounds else "",
                relevant=tuple(i for i in entry.relevant if i in foregrounds),
                irrelevant=tuple(i for i in entry.irrelevant if i in foregrounds),
            )
        )
    return out


SPLITS = ("train", "validation", "test")
VALIDATION_PERCENT = 5


@dataclasses.dataclass(frozen=True)
class Split:
    """Foregrounds (the split's gallery) and queries, whose labels name foregrounds of this split only."""

    foregrounds: tuple[Foreground, ...]
    queries: tuple[Query, ...]


def is_validation(source_id: str) -> bool:
    """Whether a photograph of FOSD's train part belongs to validation: by its id alone, the same on every machine.

    FOSD has no validation split. Source: decision 16.
    """
    digest = hashlib.sha256(f"fosd validation {source_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % 100 < VALIDATION_PERCENT


def split_benchmark(benchmark: Benchmark) -> dict[str, Split]:
    """Name of the split -> its share of a benchmark, in the annotations' order."""
    train, queries = benchmark.foregrounds["train"], benchmark.queries["train"]
    out = {}
    for name in SPLITS:
        if name == "test":
            ids, share = benchmark.foregrounds["test"], benchmark.queries["test"]
        else:
            wanted = name == "validation"
            ids = {i: f for i, f in train.items() if is_validation(f.source_id) == wanted}
            share = [query for query in queries if is_validation(query.source_id) == wanted]
        out[name] = Split(tuple(ids.values()), tuple(_within(query, ids) for query in share))
    return out


def _within(query: Query, foregrounds: dict[str, Foreground]) -> Query:
    return dataclasses.replace(
        query,
        relevant=tuple(i for i in query.relevant if i in foregrounds),
        irrelevant=tuple(i for i in query.irrelevant if i in foregrounds),
    )
