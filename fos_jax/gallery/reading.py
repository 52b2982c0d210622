"""Reading of cut-outs from what a source lists of them, in any process.

A source lists units: one image, one example, or one photograph with all its objects. A unit is a JSON value, so that
a plan of the work can be written down by one process and be worked off by others, each of which reads its own part.
"""

import dataclasses
import functools
import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.cutouts.cutting import cut_objects
from fos_jax.cutouts.measures import BORDER_CONTACT, BORDER_MARGIN_PX, truncated_sides
from fos_jax.cutouts.records import Defects, Photograph
from fos_jax.cutouts.shards import read_rows
from fos_jax.data.splits import open_split, text
from fos_jax.errors import InputError
from fos_jax.gallery.foregrounds import parse_sides
from fos_jax.images import read_cutout
from fos_jax.pattern_table import PatternTable

# Values of the attribute "truncation" that say which side is cut; others (such as "several") do not.
_TRUNCATIONS: dict[str, tuple[str, ...]] = {
    "none": (),
    "left": ("left",),
    "above": ("top",),
    "right": ("right",),
    "below": ("bottom",),
}


@dataclasses.dataclass(frozen=True)
class CutoutRecord:
    """One foreground on its way into a gallery.

    Attributes:
      id: unique within the source.
      category: name of the category.
      rgba: uint8 [h, w, 4], straight alpha, at the best resolution there is.
      source_id: image that it was cut from, "" where unknown.
      licence: as the source states it, "" where it does not.
      path: file that holds exactly this cut-out, None where there is none.
      pattern: its true pattern, -1 where unknown.
      truncated: sides at which its photograph cut it, of `boxes.SIDES` in their order; None where unknown.
      tags: words to filter by.
    """

    id: str
    category: str
    rgba: np.ndarray
    source_id: str = ""
    licence: str = ""
    path: Path | None = None
    pattern: int = -1
    truncated: tuple[str, ...] | None = None
    tags: Collection[str] = ()


@dataclasses.dataclass(frozen=True)
class Unit:
    """What a source lists.

    Attributes:
      item: a JSON value that says what to read.
      count: cut-outs in it, at most.
      file: that it is read from, where it has one of its own.
    """

    item: Any
    count: int
    file: Path | None


def read_units(settings: Mapping[str, Any], items: Iterable[Any], skipped: Counter[str]) -> Iterator[CutoutRecord]:
    """Yields the cut-outs of some of a source's units.

    Args:
      settings: of the source; its kind and what its units have in common.
      items: of the units.
      skipped: reason -> how many; what is left out is counted in it.

    Raises:
      InputError: what the source says it raises while it is iterated.
    """
    return _READERS[settings["kind"]](settings, items, skipped)


def _read_folder(settings: Mapping[str, Any], items: Iterable[Any], skipped: Counter[str]) -> Iterator[CutoutRecord]:
    for category, identifier, truncated in items:
        path = Path(settings["root"]) / identifier
        try:
            rgba = read_cutout(path, max_pixels=settings["max_pixels"])
        except InputError:
            if not settings["skip_defects"]:
                raise
            skipped["unusable image"] += 1
            continue
        yield CutoutRecord(
            identifier,
            category,
            rgba,
            source_id=identifier,
            licence=settings["licence"],
            path=path,
            truncated=None if truncated is None else tuple(truncated),
        )


def _read_extraction(
    settings: Mapping[str, Any], items: Iterable[Any], skipped: Counter[str]
) -> Iterator[CutoutRecord]:
    for shard, members in itertools.groupby(items, key=lambda item: item[5]):
        here = {item[6]: item for item in members}
        for row, (png,) in enumerate(read_rows(CutoutSet.shard_path(settings["root"], shard), ("png",))):
            if row not in here:
                continue
            identifier, category, path, licence, truncated, *_ = here.pop(row)
            yield CutoutRecord(
                id=identifier,
                category=category,
                rgba=read_cutout(png, where=f"extraction {settings['root']}, {identifier}"),
                source_id=Path(path).name,
                licence=licence or settings["licence"],
                truncated=None if truncated is None else tuple(truncated),
            )
            if not here:
                break


def _read_coco(settings: Mapping[str, Any], items: Iterable[Any], skipped: Counter[str]) -> Iterator[CutoutRecord]:
    defects, root = Defects(skip=settings["skip_defects"]), Path(settings["root"])
    for item in items:
        photograph = Photograph.from_json(item)
        before = defects.counts.copy()
        for cutout in cut_objects(photograph, root, root, defects=defects, max_pixels=settings["max_pixels"]):
            yield CutoutRecord(
                cutout.id,
                cutout.category,
                cutout.rgba,
                source_id=Path(photograph.path).name,
                licence=cutout.licence,
                truncated=truncated_sides(
                    cutout.rgba[..., 3] > 0,
                    cutout.box_xyxy_px,
                    cutout.frame_size,
                    margin_px=BORDER_MARGIN_PX,
                    contact=BORDER_CONTACT,
                ),
            )
        skipped.update(defects.counts - before)


class DatasetReader:
    """The examples of one split of a built TFDS data set with foregrounds, read without TensorFlow."""

    def __init__(self, builder_dir: str | Path, split: str, category_names: Mapping[str, str]):
        """Arguments and errors as `sources.DatasetCutouts`."""
        self._where, self._category_names = f"{builder_dir} {split}", category_names
        features, self._source = open_split(Path(builder_dir), split)
        missing = {"id", "image", "category", "pattern", "source_id", "licence"} - set(features)
        if missing:
            raise InputError(f"{builder_dir}: features {', '.join(sorted(missing))} are missing, expected foregrounds")
        self._labels = features["category"].names
        self._says_truncated = "truncated" in features
        path = Path(builder_dir) / "patterns.json"
        patterns = PatternTable.read(path).patterns if path.exists() else ()
        self._truncated_of_pattern = [_TRUNCATIONS.get(p.attributes.get("truncation", "")) for p in patterns]

    def __len__(self) -> int:
        return len(self._source)

    def records(self, places: Iterable[int]) -> Iterator[CutoutRecord]:
        """The examples at some places of the split."""
        for place in places:
            example = self._source[place]
            identifier, category = text(example["id"]), self._labels[int(example["category"])]
            yield CutoutRecord(
                id=identifier,
                category=self._category_names.get(category, category),
                rgba=read_cutout(example["image"], where=f"{self._where}, {identifier}"),
                source_id=text(example["source_id"]),
                licence=text(example["licence"]),
                pattern=int(example["pattern"]),
                truncated=self._truncated(example),
            )

    def _truncated(self, example: Mapping[str, Any]) -> tuple[str, ...] | None:
        if self._says_truncated:
            return parse_sides(text(example["truncated"]))
        pattern = int(example["pattern"])
        return self._truncated_of_pattern[pattern] if 0 <= pattern < len(self._truncated_of_pattern) else None


def _read_dataset(settings: Mapping[str, Any], items: Iterable[Any], skipped: Counter[str]) -> Iterator[CutoutRecord]:
    files = tuple(map(tuple, settings["files"]))
    return _reader(settings["root"], settings["split"], tuple(settings["category_names"].items()), files).records(items)


@functools.lru_cache(maxsize=1)
def _reader(root: str, split: str, category_names: tuple[tuple[str, str], ...], files: tuple) -> DatasetReader:
    """Kept from one shard to the next; another one where the files have changed."""
    return DatasetReader(root, split, dict(category_names))


_READERS: dict[str, Callable[[Mapping[str, Any], Iterable[Any], Counter[str]], Iterator[CutoutRecord]]] = {
    "folder": _read_folder,
    "extraction": _read_extraction,
    "data set": _read_dataset,
    "coco": _read_coco,
}
