"""Make the data set from annotated photographs in one go: cut-outs, patterns, splits, records."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.cutouts.duplicates import perceptual_hash
from fos_jax.cutouts.extraction import extract
from fos_jax.cutouts.filters import default_config, rejected_before_cutting
from fos_jax.cutouts.records import NO_MASK, AnnotatedObject, Defects, Photograph, PhotographSource
from fos_jax.cutouts.sources import open_source
from fos_jax.datasets.building import build
from fos_jax.datasets.fos_patterns.annotated import AnnotatedPatterns, write_annotated
from fos_jax.datasets.fos_patterns.benchmark import Entry
from fos_jax.errors import InputError
from fos_jax.images import read_image
from fos_jax.patterns.annotations.grouping import group_by_attributes
from fos_jax.patterns.annotations.reading import annotation_attributes, check_names, cutout_attributes

DATASET = "fos_patterns"
SOURCES = ("coco", "voc", "animal_pose")
# Read by default, where a category has them.
DEFAULT_ATTRIBUTES = ("truncation", "animal_view", "person_facing", "voc_pose")


def build_from_annotations(
    source: Mapping[str, Any],
    *,
    data_dir: str | Path,
    manual_dir: str | Path | None = None,
    attributes: Sequence[str] | None = None,
    min_members: int = 8,
    size: str = "tight",
    config: ConfigDict | None = None,
    seed: int = 0,
    progress: bool = True,
) -> list[str]:
    """Cuts out, groups, splits and writes; goes on where an earlier run stopped.

    Args:
      source: as `open_source` takes it, of one of the kinds `SOURCES`.
      data_dir: folder that data sets are built in.
      manual_dir: folder for cut-outs and patterns; `<data_dir>/fos_patterns_files` by default.
      attributes: names of `ATTRIBUTES`; those of `DEFAULT_ATTRIBUTES` that are known by default.
      min_members: patterns with fewer foregrounds are left out.
      size: of the data set, "tight" or "jittered".
      config: thresholds of the cut-outs' filters.
      seed: of the splits.
      progress: show bars.

    Returns:
      Directories of the foregrounds and of the queries.

    Raises:
      InputError: what reading, cutting, grouping and building find; a data set from other annotations that is there.
    """
    manual = Path(data_dir) / f"{DATASET}_files" if manual_dir is None else Path(manual_dir)
    annotated = annotate(
        source, manual, attributes=attributes, min_members=min_members, config=config, seed=seed, progress=progress
    )
    for path in sorted((Path(data_dir) / DATASET).glob(f"{size}_*/*/data_card.json")):
        if f'"labels": "{annotated.fingerprint()}"' not in path.read_text("utf-8", errors="replace"):
            raise InputError(f"{path.parent}: holds a data set from other annotations, expected another data_dir")
    write_annotated(manual / "annotated.json", annotated)
    return build(DATASET, size, str(data_dir), manual_dir=str(manual))


def annotate(
    source: Mapping[str, Any],
    manual_dir: Path,
    *,
    attributes: Sequence[str] | None = None,
    min_members: int = 8,
    config: ConfigDict | None = None,
    seed: int = 0,
    progress: bool = True,
) -> AnnotatedPatterns:
    """Cuts out into `<manual_dir>/cutouts` and makes the patterns; arguments and errors as above."""
    if source.get("kind") not in SOURCES:
        raise InputError(f"source: kind is {source.get('kind')!r}, expected one of {', '.join(SOURCES)}")
    names = check_names(DEFAULT_ATTRIBUTES if attributes is None else attributes)
    config = default_config() if config is None else config
    defects = Defects(skip=bool(source.get("skip_defects")))
    # Before anything is cut: what is wrong with annotations is then told at once.
    reader = open_source({**source, "maskless": "keep"})
    try:
        splits, maskless, left_out = _read_annotations(reader, names, config, defects, progress)
    finally:
        reader.close()
    left_out += reader.left_out + Counter({f"annotations: {name}": n for name, n in reader.defects.counts.items()})
    extract(manual_dir / "cutouts", {**source, "maskless": "leave_out"}, config, progress=progress)
    cutouts = CutoutSet(manual_dir / "cutouts")
    values = cutout_attributes(cutouts, names, defects=Defects(skip=True), progress=progress)
    categories = cutouts.column("category") + [query.entry.category for query in maskless]
    is_member = np.arange(len(categories)) < len(cutouts)
    grouped = group_by_attributes(
        categories,
        values + [query.values for query in maskless],
        names,
        min_members=min_members,
        is_member=is_member,
        needs_all=attributes is not None,
    )
    if not grouped.patterns:
        raise InputError(f"{cutouts.folder}: no pattern has {min_members} cut-outs or more of {len(cutouts)}")
    left_out.update(f"cut-out: {reason}" for reason in grouped.reasons[: len(cutouts)] if reason)
    left_out.update(f"without a mask: {reason}" for reason in grouped.reasons[len(cutouts) :] if reason)
    numbers = grouped.pattern.tolist()
    return AnnotatedPatterns(
        cutouts=cutouts.fingerprint,
        source=reader.name,
        attributes=tuple(name for name in names if any(name in pattern.attributes for pattern in grouped.patterns)),
        min_members=min_members,
        seed=seed,
        known=_known(cutouts, values, names),
        patterns=grouped.patterns,
        members={name: k for name, k in zip(cutouts.column("id"), numbers, strict=False) if k >= 0},
        queries=_entries(reader, maskless, numbers[len(cutouts) :], defects, progress),
        splits=splits,
        left_out=dict(left_out),
        messages=(*reader.defects.messages, *defects.messages),
    )


@dataclasses.dataclass(frozen=True)
class _Maskless:
    photograph: Photograph
    entry: AnnotatedObject
    values: Mapping[str, str]


def _read_annotations(
    reader: PhotographSource, names: Sequence[str], config: ConfigDict, defects: Defects, progress: bool
) -> tuple[dict[str, str], list[_Maskless], Counter[str]]:
    """Checks all annotations; splits by photograph, objects without a mask, and why some of these are left out."""
    splits: dict[str, str] = {}
    found: list[_Maskless] = []
    left_out: Counter[str] = Counter()
    with tqdm(desc="annotations", unit=" photographs", total=len(reader), disable=not progress) as bar:
        for photograph in reader:
            bar.update()
            if photograph.split:
                splits[photograph.id] = photograph.split
            for entry in photograph.objects:
                if entry.box_xyxy_px is None:
                    continue
                has_mask = entry.mask != NO_MASK
                frame = (photograph.width, photograph.height)
                reason = "" if has_mask else rejected_before_cutting(entry, config) or _too_small(entry, config)
                try:
                    values = annotation_attributes(
                        entry.attributes,
                        entry.box_xyxy_px,
                        None,
                        *frame,
                        entry.category,
                        names=names,
                        where=entry.where,
                    )
                except InputError as error:
                    defects.add("defective attributes", error)
                    reason = "defective attributes"
                if reason and not has_mask:
                    left_out[f"without a mask: {reason}"] += 1
                elif not has_mask:
                    found.append(_Maskless(photograph, entry, values))
    return splits, found, left_out


def _too_small(entry: AnnotatedObject, config: ConfigDict) -> str:
    """As the filter for cut-outs, by the rectangle."""
    assert entry.box_xyxy_px is not None
    x0, y0, x1, y1 = entry.box_xyxy_px
    short, long = sorted((x1 - x0, y1 - y0))
    limits = config.size
    return "size" if short < limits.min_short_side_px or long < limits.min_long_side_px else ""


def _entries(
    reader: PhotographSource, maskless: Sequence[_Maskless], patterns: Sequence[int], defects: Defects, progress: bool
) -> tuple[Entry, ...]:
    """The objects that have a pattern; their photographs are read once, for their hashes."""
    entries: list[Entry] = []
    hashes: dict[str, int] = {}
    pairs = [(query, number) for query, number in zip(maskless, patterns, strict=True) if number >= 0]
    for query, number in tqdm(pairs, desc="photographs", unit=" objects", disable=not progress):
        photograph, entry = query.photograph, query.entry
        try:
            if photograph.id not in hashes:
                rgb = read_image(reader.root / photograph.path)
                if photograph.width and rgb.shape[:2] != (photograph.height, photograph.width):
                    raise InputError(
                        f"{reader.root / photograph.path}: {rgb.shape[1]} x {rgb.shape[0]} px, but annotated as "
                        f"{photograph.width} x {photograph.height} px"
                    )
                hashes[photograph.id] = perceptual_hash(rgb)
        except InputError as error:
            defects.add("unusable photograph", error)
            continue
        assert entry.box_xyxy_px is not None
        entries.append(
            Entry(
                index=-1,
                id=entry.id,
                category=entry.category,
                source_id=photograph.id,
                licence=photograph.licence,
                pattern=number,
                split="",
                photograph=photograph.path,
                box_xyxy_px=entry.box_xyxy_px,
                source_hash=hashes[photograph.id],
            )
        )
    return tuple(entries)


def _known(cutouts: CutoutSet, values: Sequence[Mapping[str, str]], names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Per category how many cut-outs there are, and for how many each attribute is known."""
    known: dict[str, Counter[str]] = {}
    for category, row in zip(cutouts.column("category"), values, strict=True):
        known.setdefault(category, Counter())["cut-outs"] += 1
        known[category].update(name for name in names if name in row)
    return {category: dict(known[category]) for category in sorted(known)}
