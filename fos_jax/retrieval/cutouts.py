"""Sources of a gallery's cut-outs: a folder of RGBA images, a split of a data set, or COCO annotations.

Each source is an iterable of `CutoutRecord` that keeps count of what it left out and why.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from fos_jax.boxes import BoxXyxyPx
from fos_jax.cutouts.cutting import cut_objects
from fos_jax.cutouts.records import AnnotatedObject, Defects, Photograph
from fos_jax.cutouts.sources.coco import CocoSource
from fos_jax.cutouts.sources.folder import FolderSource
from fos_jax.data.splits import open_split, text
from fos_jax.errors import InputError
from fos_jax.images import MAX_PIXELS, read_cutout


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
    """

    id: str
    category: str
    rgba: np.ndarray
    source_id: str = ""
    licence: str = ""
    path: Path | None = None
    pattern: int = -1
    truncated: tuple[str, ...] | None = None


class CutoutSource(Protocol):
    """What the readers have in common.

    Attributes:
      name: one phrase for the gallery's manifest.
      skipped: reason -> how many were left out so far; filled while iterating.
    """

    name: str
    skipped: Counter[str]

    def __iter__(self) -> Iterator[CutoutRecord]: ...

    def __len__(self) -> int:
        """An upper bound, for progress."""
        ...


def parse_category_names(text: str, *, where: str = "category_names") -> dict[str, str]:
    """Parses "potted plant=plant,tv=screen" (the source's name = the table's); `InputError` where it is not that."""
    names: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        source, equals, target = (piece.strip() for piece in part.partition("="))
        if not (source and equals and target) or source in names:
            raise InputError(f"{where}: got {part!r}, expected each name once as SOURCE=NAME")
        names[source] = target
    return names


class FolderCutouts:
    """RGBA images in `<root>/<category>/*.png` (or .webp, .tif), in the order of their names."""

    def __init__(
        self,
        root: str | Path,
        *,
        categories: Sequence[str],
        category_names: Mapping[str, str] | None = None,
        licence: str = "",
        skip_defects: bool = False,
        max_pixels: int = MAX_PIXELS,
    ):
        """Lists the folder without opening an image.

        Args:
          root: folder with one folder per category.
          categories: the names that are known; a folder of another name is an error, lest a misspelt one be left out.
          category_names: folder name -> known name, where they differ.
          licence: licence of all the images.
          skip_defects: count unusable images instead of raising.
          max_pixels: larger images are defects.

        Raises:
          InputError: no such folder, an unknown category, a link that leaves the root, or no image at all. Unusable
            images raise while iterating, named by path.
        """
        source = FolderSource(root, categories=categories, category_names=category_names, licence=licence)
        self.name = source.name
        self.skipped: Counter[str] = Counter()
        self._root, self._licence, self._skip_defects, self._max_pixels = source.root, licence, skip_defects, max_pixels
        self._files = [(photograph.objects[0].category, self._root / photograph.path) for photograph in source]

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[CutoutRecord]:
        self.skipped.clear()
        for category, path in self._files:
            try:
                rgba = read_cutout(path, max_pixels=self._max_pixels)
            except InputError:
                if not self._skip_defects:
                    raise
                self.skipped["unusable image"] += 1
                continue
            identifier = path.relative_to(self._root).as_posix()
            yield CutoutRecord(identifier, category, rgba, identifier, self._licence, path)


class DatasetCutouts:
    """Foregrounds of one split of a built TFDS data set, in stored order; read without TensorFlow."""

    def __init__(self, builder_dir: str | Path, split: str, *, category_names: Mapping[str, str] | None = None):
        """Opens the split.

        Args:
          builder_dir: `<data_dir>/<data set>/<config>/<version>`, a config with foregrounds.
          split: name of the split, also "test[:100]".
          category_names: the data set's name -> the table's, where they differ.

        Raises:
          InputError: no data set there, no such split, or no foregrounds in it.
        """
        self.name = f"{builder_dir} {split}"
        self.skipped: Counter[str] = Counter()
        self._category_names = category_names or {}
        features, self._source = open_split(Path(builder_dir), split)
        missing = {"id", "image", "category", "pattern", "source_id", "licence"} - set(features)
        if missing:
            raise InputError(f"{builder_dir}: features {', '.join(sorted(missing))} are missing, expected foregrounds")
        self._labels = features["category"].names

    def __len__(self) -> int:
        return len(self._source)

    def __iter__(self) -> Iterator[CutoutRecord]:
        for index in range(len(self._source)):
            example = self._source[index]
            identifier, category = text(example["id"]), self._labels[int(example["category"])]
            yield CutoutRecord(
                id=identifier,
                category=self._category_names.get(category, category),
                rgba=read_cutout(example["image"], where=f"{self.name}, {identifier}"),
                source_id=text(example["source_id"]),
                licence=text(example["licence"]),
                pattern=int(example["pattern"]),
            )


@dataclasses.dataclass(frozen=True)
class CocoObject:
    """One annotated object: what a query needs of it.

    Attributes:
      id: `<stem of the photograph>/<annotation id>`.
      path: the photograph.
      box_xyxy_px: its rectangle.
      category: the table's name.
    """

    id: str
    path: Path
    box_xyxy_px: BoxXyxyPx
    category: str


class CocoCutouts:
    """Objects cut by their masks from the photographs of a COCO annotation file, photograph by photograph."""

    def __init__(
        self,
        annotations: str | Path,
        images: str | Path,
        *,
        categories: Sequence[str],
        category_names: Mapping[str, str] | None = None,
        min_side_px: int = 32,
        skip_defects: bool = False,
        max_pixels: int = MAX_PIXELS,
    ):
        """Reads and checks the annotation file; photographs are opened while iterating.

        Crowds, categories that are not wanted and objects smaller than `min_side_px` are left out and counted.

        Args:
          annotations: JSON file in COCO's instances format.
          images: folder that the file names in it are relative to.
          categories: names that are wanted.
          category_names: COCO's name -> the wanted name, where they differ.
          min_side_px: shortest long side of a rectangle that is worth a cut-out.
          skip_defects: count defective annotations and photographs instead of raising.
          max_pixels: larger photographs are defects.

        Raises:
          InputError: naming file and field: not COCO, a reference to nothing, a rectangle that is none, a file name
            that leaves the folder, or no object at all. While iterating: a photograph that cannot be read or is not
            of the annotated size, a mask that is none.
        """
        self.name = f"{annotations}"
        self.skipped: Counter[str] = Counter()
        self._max_pixels, self._skip_defects = max_pixels, skip_defects
        source = CocoSource(
            annotations, images, categories=categories, category_names=category_names, skip_defects=skip_defects
        )
        self._root = source.root
        self._photographs: list[Photograph] = []
        for photograph in source:
            usable = tuple(entry for entry in photograph.objects if self._is_usable(entry, min_side_px))
            if usable:
                self._photographs.append(dataclasses.replace(photograph, objects=usable))
        source.close()
        self.skipped += source.left_out + source.defects.counts
        self.objects = [
            CocoObject(entry.id, self._root / photograph.path, entry.box_xyxy_px, entry.category)
            for photograph in self._photographs
            for entry in photograph.objects
            if entry.box_xyxy_px is not None
        ]
        if not self.objects:
            reasons = ", ".join(f"{n} {reason}" for reason, n in self.skipped.items()) or "no annotations"
            raise InputError(f"{annotations}: no usable object ({reasons})")
        self._skipped_at_opening = self.skipped.copy()

    def __len__(self) -> int:
        return len(self.objects)

    def __iter__(self) -> Iterator[CutoutRecord]:
        defects = Defects(skip=self._skip_defects)
        for photograph in self._photographs:
            for cutout in cut_objects(photograph, self._root, self._root, defects=defects, max_pixels=self._max_pixels):
                yield CutoutRecord(
                    cutout.id,
                    cutout.category,
                    cutout.rgba,
                    source_id=Path(photograph.path).name,
                    licence=cutout.licence,
                )
            self.skipped.clear()
            self.skipped.update(self._skipped_at_opening + defects.counts)

    def _is_usable(self, entry: AnnotatedObject, min_side_px: int) -> bool:
        if entry.is_crowd:
            self.skipped["crowd"] += 1
            return False
        if entry.box_xyxy_px is not None:
            x0, y0, x1, y1 = entry.box_xyxy_px
            if max(x1 - x0, y1 - y0) < min_side_px:
                self.skipped[f"smaller than {min_side_px} px"] += 1
                return False
        return True
