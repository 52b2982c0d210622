"""Benchmark planned from verified patterns: its cut-outs and photographs, their splits, truth and pictures."""

import dataclasses
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from fos_jax.boxes import BoxXyxyPx
from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.cutouts.extraction import read_plan
from fos_jax.cutouts.sources.reading import check_inside
from fos_jax.datasets.fos_patterns.splitting import (
    closest_bits,
    linked_components,
    near_duplicate_links,
    split_components,
)
from fos_jax.errors import InputError
from fos_jax.images import MEAN_COLOUR, read_image, resize_rgb, resize_rgba
from fos_jax.pattern_table import Pattern, PatternTable
from fos_jax.patterns.annotations.grouping import mirrors
from fos_jax.verification.export import VerifiedPattern, VerifiedPatterns

SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Choices of a benchmark.

    Attributes:
      shares: split -> share of the cut-outs.
      min_members: smaller patterns are left out.
      growth: each side of a query's rectangle moves outwards by a fraction of the rectangle's width or height, drawn
        evenly from this range; (0, 0) keeps the silhouette's own rectangle, (0.1, 0.1) widens, (0, 0.2) also jitters.
      longest_side_px: of stored photographs; larger ones shrink.
      cutout_side_px: the same of stored cut-outs.
      seed: of splits and jitter.
    """

    shares: Mapping[str, float] = dataclasses.field(
        default_factory=lambda: {"train": 0.7, "validation": 0.1, "test": 0.2}
    )
    min_members: int = 2
    growth: tuple[float, float] = (0.0, 0.0)
    longest_side_px: int = 512
    cutout_side_px: int = 256
    seed: int = 0


SIZES = {"tight": Settings(), "jittered": Settings(growth=(0.0, 0.2))}  # by the first part of the configs' names


@dataclasses.dataclass(frozen=True)
class Entry:
    """One cut-out of the benchmark, or one object that is only a query because nothing can be cut out of it.

    Attributes:
      index: in the cut-out set; -1 for an object without a mask.
      id, category, source_id, licence: as there.
      pattern: id in the benchmark's table.
      split: one of `SPLITS`.
      photograph: path below the benchmark's photographs; "" where the cut-out came without one, and is no query.
      box_xyxy_px: tight around the mask, in the photograph; as annotated where there is no mask.
      source_hash: perceptual hash of the photograph.
    """

    index: int
    id: str
    category: str
    source_id: str
    licence: str
    pattern: int
    split: str
    photograph: str
    box_xyxy_px: BoxXyxyPx
    source_hash: int

    @property
    def has_cutout(self) -> bool:
        return self.index >= 0


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """A planned benchmark.

    Attributes:
      table: patterns with their counts.
      entries: by split and id.
      is_compatible: bool [P, P], symmetric: pattern of a query's own object -> patterns that fit there.
      photographs: folder that `Entry.photograph` is relative to.
      settings: as given.
      left_out: reason -> objects that were labelled and are not in the benchmark.
      components: how many photographs there are, and how many of them hang together with another one.
    """

    table: PatternTable
    entries: tuple[Entry, ...]
    is_compatible: np.ndarray
    photographs: Path
    settings: Settings
    left_out: Mapping[str, int]
    components: Mapping[str, int]

    def of_split(self, split: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.split == split]


def plan_benchmark(
    cutouts: CutoutSet, verified: VerifiedPatterns, settings: Settings, *, photographs: str | Path | None = None
) -> Benchmark:
    """Plans a benchmark; nothing is written and no picture is decoded.

    Members that nobody verified are left out, and so are patterns too small to have another member. Photographs that
    share an object, an id or nearly all their pixels come into one split, and this is checked once more by comparing
    all hashes of different splits with each other.

    Args:
      cutouts: a finished extraction.
      verified: an export of the verification of these cut-outs.
      settings: choices.
      photographs: folder of the photographs; where extraction found them by default.

    Raises:
      InputError: an export of other cut-outs, no pattern that is large enough, or splits that share something.
    """
    if verified.cutouts != cutouts.fingerprint:
        raise InputError(
            f"{cutouts.folder}: has fingerprint {cutouts.fingerprint}, the export is of {verified.cutouts}"
        )
    row_of_id = {name: row for row, name in enumerate(cutouts.column("id"))}
    left_out: Counter[str] = Counter(rejected=len(verified.rejected), outlier=len(verified.outliers))
    kept: list[tuple[VerifiedPattern, list[int]]] = []
    for pattern in verified.patterns:
        members = [member for member in pattern.members if member.is_verified]
        left_out["not verified"] += len(pattern.members) - len(members)
        missing = [member.cutout_id for member in members if member.cutout_id not in row_of_id]
        if missing:
            raise InputError(f"{cutouts.folder}: has no cut-out {missing[0]!r}, which the export names")
        if len(members) < settings.min_members:
            left_out["pattern too small"] += len(members)
        else:
            kept.append((pattern, [row_of_id[member.cutout_id] for member in members]))
    if not kept:
        raise InputError(f"{cutouts.folder}: no verified pattern has {settings.min_members} members or more")
    kept.sort(key=lambda pair: (pair[0].category, pair[0].id))
    rows = np.concatenate([members for _, members in kept])
    label = np.repeat(np.arange(len(kept)), [len(members) for _, members in kept])
    sources = np.array(cutouts.column("source_id"), object)
    component, components = photograph_components(cutouts, sources[rows])
    split = split_components(component, label, settings.shares, seed=settings.seed)
    root = Path(photographs) if photographs is not None else read_plan(cutouts.folder).root
    entries = sorted_entries(cutout_entries(cutouts, rows, label, [list(settings.shares)[s] for s in split]))
    table = _table([pattern for pattern, _ in kept], entries)
    position = {pattern.id: i for i, (pattern, _) in enumerate(kept)}
    is_compatible = np.eye(len(kept), dtype=bool)
    for a, b in verified.also_compatible:
        if a in position and b in position:
            is_compatible[position[a], position[b]] = is_compatible[position[b], position[a]] = True
    plan = Benchmark(table, entries, is_compatible, root, settings, dict(left_out), components)
    check_splits(plan, cutouts)
    return plan


def check_splits(plan: Benchmark, cutouts: CutoutSet) -> None:
    """Compares all entries of different splits: `InputError` where they share a photograph or a near-duplicate."""
    limit = cutouts.manifest["config"]["near_duplicate"]["max_distance_bits"]
    hash_of = np.array(cutouts.column("hash"), np.uint64)
    by_split = {split: plan.of_split(split) for split in SPLITS}
    for number, first in enumerate(SPLITS):
        for second in SPLITS[number + 1 :]:
            a, b = by_split[first], by_split[second]
            shared = {e.source_id for e in a} & {e.source_id for e in b}
            if shared:
                raise InputError(f"{first} and {second} share the photograph {min(shared)!r}")
            for what in ("photographs", "cut-outs"):
                of_one, of_other = (_hashes(entries, what, hash_of) for entries in (a, b))
                for category in sorted(set(of_one) & set(of_other)):
                    (i_ids, i_hashes), (j_ids, j_hashes) = of_one[category], of_other[category]
                    bits, i, j = closest_bits(i_hashes, j_hashes)
                    if bits <= limit:
                        raise InputError(
                            f"{first} and {second} share near-duplicate {what}: {i_ids[i]} and {j_ids[j]} differ by "
                            f"{bits} bits"
                        )


def _hashes(entries: Sequence[Entry], what: str, hash_of: np.ndarray) -> dict[str, tuple[list[str], np.ndarray]]:
    """Ids and hashes: cut-outs are compared within their category, photographs all with all."""
    found: dict[str, list[tuple[str, int]]] = {}
    for entry in entries:
        if what == "photographs":
            found.setdefault("", []).append((entry.id, entry.source_hash))
        elif entry.has_cutout:
            found.setdefault(entry.category, []).append((entry.id, int(hash_of[entry.index])))
    return {name: ([i for i, _ in rows], np.array([h for _, h in rows], np.uint64)) for name, rows in found.items()}


def photograph_components(
    cutouts: CutoutSet, source_ids: np.ndarray, more: Mapping[str, int] | None = None
) -> tuple[np.ndarray, dict[str, int]]:
    """Which photographs belong together.

    Linked are photographs that look alike, and those of which one shows a near-duplicate of the other's object, also
    one that extraction rejected for it.

    Args:
      cutouts: a finished extraction.
      source_ids: object [n], photograph of each item.
      more: photograph -> hash, for photographs that extraction did not see.

    Returns:
      int64 [n] number of each item's component, and counts.
    """
    limit = cutouts.manifest["config"]["near_duplicate"]["max_distance_bits"]
    everything = pq.read_table(
        cutouts.folder / "index.parquet", columns=["id", "source_id", "source_hash", "duplicate_of"]
    )
    hash_of = dict(zip(everything["source_id"].to_pylist(), everything["source_hash"].to_pylist(), strict=True))
    hash_of |= dict(more or {})
    names = sorted(hash_of)
    place = {name: i for i, name in enumerate(names)}
    source_of = dict(zip(everything["id"].to_pylist(), everything["source_id"].to_pylist(), strict=True))
    links = [
        (place[source_of[copy]], place[source_of[original]])
        for copy, original in zip(everything["id"].to_pylist(), everything["duplicate_of"].to_pylist(), strict=True)
        if original
    ]
    links += near_duplicate_links(np.array([hash_of[name] for name in names], np.uint64), limit)
    number = linked_components(len(names), links)
    of_items = np.array([place[name] for name in source_ids], np.int64)
    used = np.unique(of_items)
    sizes = np.bincount(number[used])
    alone = int((sizes == 1).sum())
    counts = {"photographs": len(used), "linked": len(used) - alone, "largest": int(sizes.max(initial=0))}
    return number[of_items], counts


def cutout_entries(cutouts: CutoutSet, rows: np.ndarray, label: np.ndarray, split: Sequence[str]) -> tuple[Entry, ...]:
    names = ("id", "category", "source_id", "licence", "source_path", "box_xyxy_px", "frame_width_px", "source_hash")
    columns = {name: cutouts.column(name) for name in names}
    return tuple(
        Entry(
            index=int(row),
            id=columns["id"][row],
            category=columns["category"][row],
            source_id=columns["source_id"][row],
            licence=columns["licence"][row],
            pattern=int(pattern),
            split=part,
            photograph=columns["source_path"][row] if columns["frame_width_px"][row] else "",
            box_xyxy_px=tuple(columns["box_xyxy_px"][row]),
            source_hash=columns["source_hash"][row],
        )
        for row, pattern, part in zip(rows, label, split, strict=True)
    )


def sorted_entries(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """By split and id."""
    return tuple(sorted(entries, key=lambda e: (SPLITS.index(e.split), e.id)))


def _table(patterns: Sequence[VerifiedPattern], entries: Sequence[Entry]) -> PatternTable:
    """Attributes that all patterns of a category carry, with two values or more, become the model's; all are told."""
    categories = tuple(sorted({p.category for p in patterns}))
    attributes: dict[str, dict[str, tuple[str, ...]]] = {}
    for category in categories:
        own = [p.attributes for p in patterns if p.category == category]
        shared = set.intersection(*(set(a) for a in own))
        values = {name: tuple(sorted({a[name] for a in own})) for name in sorted(shared)}
        attributes[category] = {name: v for name, v in values.items() if len(v) > 1}
    counts = Counter((e.pattern, e.split) for e in entries)
    partners = mirrors([p.category for p in patterns], [p.attributes for p in patterns])
    return PatternTable(
        categories,
        attributes,
        tuple(
            Pattern(
                id=i,
                category=p.category,
                attributes={name: p.attributes[name] for name in attributes[p.category]},
                description=p.name or ", ".join(f"{k} {v}" for k, v in p.attributes.items()) or f"{p.category} {p.id}",
                # Known for attributes that annotations tell; nobody was asked for others, which are never mirrored.
                mirror=partners[i],
                counts={split: counts[i, split] for split in SPLITS},
            )
            for i, p in enumerate(patterns)
        ),
    )


def grown_box(entry: Entry, width: int, height: int, settings: Settings) -> BoxXyxyPx:
    """The entry's rectangle with each side moved outwards as the settings say, inside the photograph.

    The same entry and settings give the same rectangle; it always holds the whole object.
    """
    low, high = settings.growth
    draw = np.random.default_rng([settings.seed, zlib.crc32(entry.id.encode())]).uniform(low, high, 4)
    x0, y0, x1, y1 = entry.box_xyxy_px
    w, h = x1 - x0, y1 - y0
    return (
        max(0, int(np.floor(x0 - draw[0] * w))),
        max(0, int(np.floor(y0 - draw[1] * h))),
        min(width, int(np.ceil(x1 + draw[2] * w))),
        min(height, int(np.ceil(y1 + draw[3] * h))),
    )


def query_picture(entry: Entry, plan: Benchmark) -> tuple[np.ndarray, BoxXyxyPx, tuple[int, int]]:
    """The photograph with the rectangle filled, shrunk to the settings' size.

    Filled before it is shrunk: no pixel inside the rectangle reaches the stored picture.

    Returns:
      uint8 [h, w, 3]; the rectangle and (width, height) of the photograph it is in, before shrinking.

    Raises:
      InputError: the photograph is missing, unreadable, lies outside its folder, or is smaller than its annotation.
    """
    relative = check_inside(plan.photographs, entry.photograph, where=f"cut-out {entry.id}: source_path")
    path = plan.photographs / relative
    rgb = np.array(read_image(path))
    height, width = rgb.shape[:2]
    if entry.box_xyxy_px[2] > width or entry.box_xyxy_px[3] > height:
        raise InputError(f"{path}: {width} x {height} px, expected the photograph that {entry.id} was cut from")
    x0, y0, x1, y1 = box = grown_box(entry, width, height, plan.settings)
    rgb[y0:y1, x0:x1] = MEAN_COLOUR
    scale = plan.settings.longest_side_px / max(width, height)
    if scale < 1:
        rgb = resize_rgb(rgb, max(1, round(width * scale)), max(1, round(height * scale)))
    return rgb, box, (width, height)


def stored_cutout(rgba: np.ndarray, side_px: int) -> np.ndarray:
    """A cut-out, shrunk where its longer side exceeds `side_px`: uint8 [h, w, 4]."""
    height, width = rgba.shape[:2]
    scale = side_px / max(width, height)
    if scale >= 1:
        return rgba
    return resize_rgba(rgba, max(1, round(width * scale)), max(1, round(height * scale)))
