"""A gallery in figures: what it holds by category, pattern, source, licence and tag, and its state."""

import itertools
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fos_jax.gallery import store
from fos_jax.gallery.gallery import Gallery, read_manifest
from fos_jax.gallery.indexing import TARGET_RECALL
from fos_jax.gallery.segment import RANKINGS, VectorsOf
from fos_jax.gallery.snapshot import Snapshot
from fos_jax.index.build import SETTINGS, recall_of

_SHOWN = 20  # sources and licences, the most frequent
_PRINTED = 8


def gallery_info(gallery: str | Path) -> dict[str, Any]:
    """What can be written as JSON: counts of live foregrounds, segments, changes since the last compaction.

    Raises:
      InputError: no gallery there, or a damaged one.
    """
    opened = Gallery.open(gallery)
    try:
        state = opened.snapshot()
        with store.Store(opened.path) as database, database.reading() as db:
            horizon, entries = store.setting(db, store.HORIZON), store.journal(db)
        counts = {name: len(state.category(name)) for name in state.categories}
        patterns = _counts(state, lambda of: of.assigned)
        removed = sum(state.category(name).num_places for name in state.categories) - len(state)
        return {
            "gallery": str(opened.path),
            "bundle": opened.manifest["bundle"],
            "num_foregrounds": len(state),
            "categories": counts,
            "patterns": {
                opened.table.patterns[int(number)].description: n for number, n in patterns.items() if int(number) >= 0
            },
            "sources": dict(Counter(_counts(state, "source_id")).most_common(_SHOWN)),
            "num_sources": len(_counts(state, "source_id")),
            "licences": dict(Counter(_counts(state, "licence")).most_common(_SHOWN)),
            "tags": _tags(state),
            "segments": {segment.name: len(segment) for segment, _ in state.segments},
            "num_recent": int(np.count_nonzero(state.recent.is_live)),
            "num_removed": removed,
            "sequence": state.sequence,
            "can_roll_back_to": horizon,
            "last_changed_s": entries[-1].time_s if entries else None,
            "indexes": _indexes(state),
            "target_recall": opened.manifest.get("target_recall", TARGET_RECALL),
            "tuning_queries": opened.manifest.get("tuning_queries", {}).get("counts", {}),
        }
    finally:
        opened.close()


def history(gallery: str | Path, *, after: int = 0, identifier: str | None = None) -> list[dict[str, Any]]:
    """The journal, oldest first; each entry with the ids that came and went.

    Args:
      gallery: its folder. after: only entries after this sequence number.
      identifier: only entries that this id came or went by.

    Raises:
      InputError: no gallery there, or a damaged one.
    """
    read_manifest(gallery)
    with store.Store(Path(gallery)) as database, database.reading() as db:
        entries, changes = store.journal(db, after=after), store.changes(db, after=after)
    added: dict[int, list[str]] = {}
    removed: dict[int, list[str]] = {}
    for change in changes:
        (added if change.is_live else removed).setdefault(change.sequence, []).append(change.id)
    found = [
        entry._asdict() | {"added": added.get(entry.sequence, []), "removed": removed.get(entry.sequence, [])}
        for entry in entries
    ]
    return [entry for entry in found if identifier is None or identifier in entry["added"] + entry["removed"]]


def few(names: Sequence[str], in_all: int | None = None, how: str = "") -> str:
    """The first eight of a list for people, and how many there are; `how` tells where the others are found."""
    in_all = len(names) if in_all is None else in_all
    return ", ".join(names[:_PRINTED]) + (f", ... ({in_all:,} in all{how})" if in_all > _PRINTED else "")


def _counts(state: Snapshot, column: Any) -> dict[str, int]:
    """Value -> number of live foregrounds; of a column of strings, or of what a function gives of a part."""
    counts: Counter[str] = Counter()
    for name in state.categories:
        for of, live in _parts(state, name):
            if callable(column):
                values, numbers = np.unique(column(of)[live].astype(str), return_counts=True)
                counts.update(dict(zip(values.tolist(), numbers.tolist(), strict=True)))
            else:
                codes, distinct = of.columns.codes(column)
                numbers = np.bincount(codes[live], minlength=len(distinct))
                counts.update({str(v): int(n) for v, n in zip(distinct, numbers, strict=True) if n})
    return dict(counts.most_common())


def _tags(state: Snapshot) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for name in state.categories:
        for of, live in _parts(state, name):
            counts.update(of.columns.take(np.flatnonzero(live))["tags"].combine_chunks().flatten().to_pylist())
    return dict(counts.most_common())


def _parts(state: Snapshot, name: str) -> list[tuple[VectorsOf, np.ndarray]]:
    return [(of, np.ones(len(of), bool) if live is None else live) for of, _, live in state.parts(name, mirrored=False)]


def _indexes(state: Snapshot) -> dict[str, dict[str, float]]:
    """Category -> ranking -> least recall that its segments' indexes reached when they were built; none where exact."""
    found: dict[str, dict[str, float]] = {}
    for segment, _ in state.segments:
        for (number, name), ranking in itertools.product(enumerate(segment.counts), RANKINGS):
            path = segment.folder / str(number) / f"index_{ranking}" / SETTINGS
            if path.exists():
                recall = recall_of(json.loads(path.read_bytes()))
                of = found.setdefault(name, {})
                of[ranking] = min(recall, of.get(ranking, 1.0))
    return found


def info_text(info: dict[str, Any]) -> str:
    """`gallery_info` for people."""
    lines = [
        f"{info['gallery']}: {info['num_foregrounds']:,} foregrounds, built with bundle {info['bundle']['fingerprint']}"
    ]
    for title in ("categories", "patterns", "licences", "tags", "sources"):
        of = [f"{n:,} {name or 'unknown'}" for name, n in info[title].items() if n]
        in_all = info["num_sources"] if title == "sources" else len(of)
        if of:
            lines.append(f"{title}: {few(of, in_all, '; --json lists more')}")
    segments = ", ".join(f"{name} ({n:,})" for name, n in info["segments"].items()) or "none"
    lines.append(f"segments: {segments}")
    reached = [f"{name} by {r} {recall:.4f}" for name, by in info["indexes"].items() for r, recall in by.items()]
    tuned = [f"{n:,} queries of {name}" for name, n in info["tuning_queries"].items()]
    how = f" (target {info['target_recall']:g}, measured with {', '.join(tuned) or 'queries made of foregrounds'})"
    lines.append(f"recall of indexes: {', '.join(reached)}{how}" if reached else "searched exactly")
    lines.append(f"since the last compaction: {info['num_recent']:,} recent, {info['num_removed']:,} removed")
    lines.append(f"change {info['sequence']}; can be rolled back to {info['can_roll_back_to']} or later")
    unusual = info["num_recent"] + info["num_removed"] > max(1000, 0.05 * info["num_foregrounds"])
    if unusual:
        lines.append(f"searches would gain by: fos gallery compact --gallery={info['gallery']}")
    return "\n".join(lines)
