"""Patterns made from annotations as one JSON file, and the benchmark that they make.

format_version   1
cutouts          fingerprint of the cut-out set, as `CutoutSet.fingerprint`
source           one phrase
attributes       names that were asked for
min_members, seed   as asked for
known            category -> attribute -> cut-outs for which it is known; "cut-outs" -> how many there are
patterns         list, by id: `category`, `attributes` (name -> value), `mirror` (id or -1)
members          cut-out id -> pattern id
queries          list of objects without a mask: `id`, `category`, `pattern`, `source_id`, `source_path`, `licence`,
                 `box_xyxy_px`, `source_hash`
splits           photograph id -> split, where the source states one
left_out         reason -> objects
messages         what was wrong with annotations and skipped, one line each
"""

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.cutouts.extraction import read_plan
from fos_jax.datasets.fos_patterns.benchmark import (
    SPLITS,
    Benchmark,
    Entry,
    Settings,
    check_splits,
    cutout_entries,
    photograph_components,
    sorted_entries,
)
from fos_jax.datasets.fos_patterns.splitting import split_components
from fos_jax.errors import InputError
from fos_jax.files import write_whole
from fos_jax.patterns.annotations.grouping import AttributePattern, pattern_table

FORMAT_VERSION = 1
_SPLIT_NAMES = {"train": "train", "training": "train", "test": "test", "testing": "test"} | dict.fromkeys(
    ("validation", "valid", "val"), "validation"
)


@dataclasses.dataclass(frozen=True)
class AnnotatedPatterns:
    """Patterns made from annotations; fields as at the top of the module."""

    cutouts: str
    source: str
    attributes: tuple[str, ...]
    min_members: int
    seed: int
    known: Mapping[str, Mapping[str, int]]
    patterns: tuple[AttributePattern, ...]
    members: Mapping[str, int]
    queries: tuple[Entry, ...]
    splits: Mapping[str, str]
    left_out: Mapping[str, int]
    messages: tuple[str, ...]

    def fingerprint(self) -> str:
        """Sixteen hex digits of everything that the data set is made from."""
        return hashlib.sha256(_to_json(self).encode()).hexdigest()[:16]


_QUERY_FIELDS = ("id", "category", "pattern", "source_id", "licence", "box_xyxy_px", "source_hash")


def _to_json(annotated: AnnotatedPatterns) -> str:
    raw = {field.name: getattr(annotated, field.name) for field in dataclasses.fields(annotated)}
    raw["patterns"] = [
        {"category": p.category, "attributes": p.attributes, "mirror": p.mirror} for p in annotated.patterns
    ]
    raw["queries"] = [
        {**{name: getattr(q, name) for name in _QUERY_FIELDS}, "source_path": q.photograph} for q in annotated.queries
    ]
    return json.dumps({"format_version": FORMAT_VERSION, **raw}, indent=1, ensure_ascii=False) + "\n"


def write_annotated(path: str | Path, annotated: AnnotatedPatterns) -> None:
    """Writes the file whole or not at all."""
    write_whole(path, _to_json(annotated))


def read_annotated(path: str | Path) -> AnnotatedPatterns:
    """Reads the file.

    Raises:
      InputError: it cannot be read, is of another format, or contradicts itself.
    """
    try:
        raw: dict[str, Any] = json.loads(Path(path).read_text("utf-8"))
        if raw.pop("format_version") != FORMAT_VERSION:
            raise InputError(f"{path}: format_version is not {FORMAT_VERSION}")
        patterns = tuple(AttributePattern(**pattern) for pattern in raw.pop("patterns"))
        queries = tuple(
            Entry(
                index=-1,
                split="",
                photograph=str(entry["source_path"]),
                **{name: tuple(entry[name]) if name == "box_xyxy_px" else entry[name] for name in _QUERY_FIELDS},
            )
            for entry in raw.pop("queries")
        )
        raw |= {name: tuple(raw[name]) for name in ("attributes", "messages")}
        annotated = AnnotatedPatterns(patterns=patterns, queries=queries, **raw)
        numbers = {*annotated.members.values(), *(query.pattern for query in queries)}
        if not all(isinstance(number, int) and 0 <= number < len(patterns) for number in numbers):
            raise InputError(f"{path}: a pattern is not among the {len(patterns)} of the file")
        return annotated
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not patterns made from annotations ({type(error).__name__}: {error})") from None


def plan_annotated(
    cutouts: CutoutSet, annotated: AnnotatedPatterns, settings: Settings, *, photographs: str | Path | None = None
) -> Benchmark:
    """Plans the benchmark; nothing is written and no picture is decoded.

    Splits are those of the source where it states them; a split that it lacks is drawn from its training photographs,
    and all are drawn where it states none. Photographs that belong together stay together: where the source divides
    them, those in the split that measures are kept.

    Args:
      cutouts: a finished extraction.
      annotated: patterns of these cut-outs.
      settings: choices; `min_members` and `seed` are those of `annotated`.
      photographs: folder of the photographs; where extraction found them by default.

    Raises:
      InputError: patterns of other cut-outs, an unknown split, or splits that share something.
    """
    if annotated.cutouts != cutouts.fingerprint:
        raise InputError(
            f"{cutouts.folder}: has fingerprint {cutouts.fingerprint}, the patterns are of {annotated.cutouts}"
        )
    row_of_id = {name: row for row, name in enumerate(cutouts.column("id"))}
    missing = [name for name in annotated.members if name not in row_of_id]
    if missing:
        raise InputError(f"{cutouts.folder}: has no cut-out {missing[0]!r}, which the patterns name")
    settings = dataclasses.replace(settings, min_members=annotated.min_members, seed=annotated.seed)
    rows = np.array([row_of_id[name] for name in annotated.members], np.int64)
    label = np.array(list(annotated.members.values()), np.int64)
    entries = [*cutout_entries(cutouts, rows, label, [""] * len(rows)), *annotated.queries]
    more = {query.source_id: query.source_hash for query in annotated.queries}
    component, components = photograph_components(cutouts, np.array([e.source_id for e in entries], object), more)
    splits = _splits(entries, component, annotated, settings)
    divided = sum(not split for split in splits)
    kept = sorted_entries(
        dataclasses.replace(entry, split=split) for entry, split in zip(entries, splits, strict=True) if split
    )
    counts = Counter((entry.pattern, entry.split) for entry in kept if entry.has_cutout)
    left_out = dict(annotated.left_out) | ({"looks like a photograph of another split": divided} if divided else {})
    root = Path(photographs) if photographs is not None else read_plan(cutouts.folder).root
    table = pattern_table(annotated.patterns, counts, SPLITS)
    is_compatible = np.eye(table.num_patterns, dtype=bool)
    plan = Benchmark(table, kept, is_compatible, root, settings, left_out, components)
    check_splits(plan, cutouts)
    return plan


def _splits(
    entries: Sequence[Entry], component: np.ndarray, annotated: AnnotatedPatterns, settings: Settings
) -> list[str]:
    """The split of each entry, "" for one whose photograph the source put elsewhere than one that looks like it."""
    stated = []
    for entry in entries:
        name = annotated.splits.get(entry.source_id, "")
        if name and name not in _SPLIT_NAMES:
            raise InputError(f"split of photograph {entry.source_id}: got {name!r}, expected {', '.join(SPLITS)}")
        stated.append(_SPLIT_NAMES.get(name, ""))
    # Of photographs that belong together the one that measures decides: test, then validation.
    of_component: dict[int, str] = {}
    for number, name in zip(component.tolist(), stated, strict=True):
        best = of_component.get(number, "")
        of_component[number] = max(best, name, key=lambda split: SPLITS.index(split) if split else -1)
    missing = [split for split in SPLITS if split not in of_component.values()]
    drawn_from = {"": SPLITS} if len(missing) == len(SPLITS) else {"train": ("train", *missing), "": SPLITS}
    result = [of_component[number] for number in component.tolist()]
    for origin, choices in drawn_from.items():
        places = np.flatnonzero([split == origin for split in result])
        if places.size and len(choices) > 1:
            total = sum(settings.shares[split] for split in choices)
            shares = {split: settings.shares[split] / total for split in choices}
            labels = np.array([entry.pattern for entry in entries])[places]
            drawn = split_components(component[places], labels, shares, seed=settings.seed)
            for place, index in zip(places.tolist(), drawn.tolist(), strict=True):
                result[place] = choices[index]
    return [
        split if not said or said == of_component[number] else ""
        for split, said, number in zip(result, stated, component.tolist(), strict=True)
    ]
