"""JSON values of the state for the page, and thumbnails of cut-outs."""

import functools
import io
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.errors import InputError
from fos_jax.images import prepare_cutout
from fos_jax.verification.actions import UnknownError
from fos_jax.verification.spread import UNLABELLED, Descriptors, nearest_groups, spread_labels
from fos_jax.verification.state import PATTERN, State
from fos_jax.verification.store import Store

_COVERS = 4
_SIMILAR = 12


def check_category(store: Store, category: str) -> str:
    """The category, if there is one of that name; `UnknownError` otherwise."""
    if category not in store.categories:
        raise UnknownError(
            f"category: unknown {category!r}, expected one of {', '.join(sorted(set(store.categories)))}"
        )
    return category


def group_list(store: Store, state: State, category: str, annotator: str) -> list[dict[str, Any]]:
    """The category's groups: patterns with members by falling size, then the outliers and the rejected.

    Each has `group`, `kind`, `name`, `attributes`, `revision`, `size`, `mine` (members that the annotator judged),
    `judged` (by anybody), `disputed`, and `cover` (up to four members, the most confident first).
    """
    result = []
    for group in state.standing():
        record, members = state.groups[group], state.members[group]
        if record.category == category and (members or record.kind != PATTERN):
            cover = sorted(members, key=lambda cutout: (-store.confidence[cutout], cutout))[:_COVERS]
            result.append(
                {
                    "group": group,
                    "kind": record.kind,
                    "name": record.name,
                    "attributes": dict(record.attributes),
                    "revision": state.revisions[group],
                    "size": len(members),
                    "mine": sum(annotator in state.verdicts.get(cutout, ()) for cutout in members),
                    "judged": sum(cutout in state.verdicts for cutout in members),
                    "disputed": sum(state.is_disputed(cutout) for cutout in members),
                    "cover": cover,
                }
            )
    return sorted(result, key=lambda entry: (entry["kind"] != PATTERN, entry["kind"], -entry["size"], entry["group"]))


def group_detail(
    store: Store, state: State, group: int, annotator: str, features: Descriptors | None = None
) -> dict[str, Any]:
    """One group with `members` ([cut-out, mine 0/1, others' verdicts, disputed 0/1], the least confident last).

    `similar` names the groups whose centres are nearest, `compatible` those marked as such.
    """
    record = state.groups.get(group)
    if record is None:
        raise UnknownError(f"group {group}: does not exist")
    if record.merged_into is not None:
        raise UnknownError(f"group {group}: was merged into group {record.merged_into}")
    order = sorted(state.members[group], key=lambda cutout: (-store.confidence[cutout], cutout))
    members = []
    for cutout in order:
        verdicts = state.verdicts.get(cutout, {})
        mine = annotator in verdicts
        members.append([cutout, int(mine), len(verdicts) - mine, int(state.is_disputed(cutout))])
    return {
        "group": group,
        "category": record.category,
        "kind": record.kind,
        "name": record.name,
        "attributes": dict(record.attributes),
        "revision": state.revisions[group],
        "members": members,
        "similar": _similar(state, group, features) if features else [],
        "compatible": sorted(b if a == group else a for a, b in state.pairs if group in (a, b)),
    }


def _similar(state: State, group: int, features: Descriptors) -> list[int]:
    category = state.groups[group].category
    rows, values = features.rows[category], features.values[category]
    row_of = {int(cutout): row for row, cutout in enumerate(rows)}
    groups = [g for g in state.standing() if state.groups[g].category == category and state.members[g]]
    groups = [g for g in groups if state.groups[g].kind == PATTERN or g == group]
    if group not in groups or len(groups) < 2:
        return []
    centres = np.stack([values[[row_of[c] for c in state.members[g]]].mean(axis=0) for g in groups])
    return [groups[i] for i in nearest_groups(centres, groups.index(group), _SIMILAR)]


def training_labels(state: State, category: str, features: Descriptors) -> np.ndarray:
    """int64 [m]: the pattern of cut-outs that most who judged agree about; `UNLABELLED` for all others."""
    labels = np.full(len(features.rows[category]), UNLABELLED, np.int64)
    for row, cutout in enumerate(features.rows[category]):
        group = state.settled_group(int(cutout))
        if group is not None and state.groups[group].kind == PATTERN:
            labels[row] = group
    return labels


def suggestions(
    labels: np.ndarray, rejected: np.ndarray, features: Descriptors, category: str
) -> list[Mapping[str, Any]]:
    """What spreads from verified members: [{`group`, `cutouts`: [[cut-out, certainty], ...]}], least certain first.

    Both the groups (by their least certain member) and the members are in that order; labelled and rejected
    cut-outs are left out. `InputError` where nothing is verified.
    """
    spread = spread_labels(features.values[category], labels)
    if spread is None:
        raise InputError(f"category: nothing of {category} is verified yet, expected members to learn from")
    found: dict[int, list[list[float]]] = {}
    order = np.argsort(spread.certainty, kind="stable")
    for row in order[(labels[order] == UNLABELLED) & ~rejected[order]]:
        entry = [int(features.rows[category][row]), round(float(spread.certainty[row]), 4)]
        found.setdefault(int(spread.label[row]), []).append(entry)
    return [{"group": group, "cutouts": entries} for group, entries in found.items()]


SIDE_PX = 128
_KEPT_THUMBNAILS = 20_000  # about 4 kB each
_KEPT_SHARDS = 16
_KEPT_ROW_GROUPS = 16  # of at most 128 whole cut-outs each


class Thumbnails:
    """WebP pictures with transparency, `SIDE_PX` square.

    Rows of a shard are read a row group at a time (some hundred cut-outs); cut-outs that lie together come cheap.
    """

    def __init__(self, cutouts: CutoutSet):
        self._folder = cutouts.folder / "shards"
        self._shards, self._rows = cutouts.table["shard"].to_numpy(), cutouts.table["row"].to_numpy()
        self._lock = threading.Lock()
        self._file = functools.lru_cache(_KEPT_SHARDS)(self._open)
        self._group = functools.lru_cache(_KEPT_ROW_GROUPS)(self._read)
        self.webp = functools.lru_cache(_KEPT_THUMBNAILS)(self._webp)

    def _webp(self, cutout: int) -> bytes:
        """The picture of a cut-out, by its number; `InputError` where its shard is gone."""
        rgba = np.asarray(Image.open(io.BytesIO(self._png(cutout))))
        buffer = io.BytesIO()
        Image.fromarray(prepare_cutout(rgba, SIDE_PX)).save(buffer, "WEBP", quality=80, method=2)
        return buffer.getvalue()

    def _png(self, cutout: int) -> bytes:
        shard, row = int(self._shards[cutout]), int(self._rows[cutout])
        with self._lock:  # a Parquet file is not to be read by two threads at once
            try:
                starts = self._file(shard)[1]
                part = int(np.searchsorted(starts, row, side="right")) - 1
                return self._group(shard, part)[row - int(starts[part])].as_py()
            except (OSError, pa.ArrowException) as error:
                raise InputError(f"cut-out {cutout}: cannot be read ({' '.join(str(error).split())})") from None

    def _read(self, shard: int, part: int) -> pa.ChunkedArray:
        return self._file(shard)[0].read_row_group(part, columns=["png"])["png"]

    def _open(self, shard: int) -> tuple[pq.ParquetFile, np.ndarray]:
        file = pq.ParquetFile(self._folder / f"cutouts-{shard:05d}.parquet")
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        return file, np.concatenate([[0], np.cumsum(sizes)])[:-1]
