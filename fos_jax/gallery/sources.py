"""Sources of a gallery's cut-outs: RGBA images, an extraction of `fos cutouts`, a data set, or COCO annotations.

Each source is an iterable of `CutoutRecord` that keeps count of what it left out and why. What it lists can be read in
parts, by other processes: see `reading`.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from fos_jax.boxes import BoxXyxyPx
from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.cutouts.records import AnnotatedObject, Photograph
from fos_jax.cutouts.sources.coco import CocoSource
from fos_jax.cutouts.sources.folder import FolderSource
from fos_jax.errors import InputError
from fos_jax.gallery.reading import CutoutRecord, DatasetReader, Unit, read_units
from fos_jax.images import MAX_PIXELS


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


class DivisibleSource(CutoutSource, Protocol):
    """A source that other processes can read in parts."""

    @property
    def settings(self) -> dict[str, Any]:
        """What its units have in common, as JSON: see `reading.read_units`. Paths are as they were given."""
        ...

    def units(self) -> Iterator[Unit]:
        """What it lists, in order."""
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
        categories: Sequence[str] | None,
        category_names: Mapping[str, str] | None = None,
        licence: str = "",
        truncated: Mapping[str, tuple[str, ...]] | None = None,
        skip_defects: bool = False,
        max_pixels: int = MAX_PIXELS,
    ):
        """Lists the folder without opening an image.

        Args:
          root: folder with one folder per category.
          categories: the names that are known; a folder of another name is an error, lest a misspelt one be left out.
            None where any name will do.
          category_names: folder name -> known name, where they differ.
          licence: licence of all the images.
          truncated: `<category>/<file>` -> sides at which its photograph cut the object, of `boxes.SIDES`; unknown of
            those that it lacks.
          skip_defects: count unusable images instead of raising.
          max_pixels: larger images are defects.

        Raises:
          InputError: no such folder, an unknown category, a link that leaves the root, or no image at all. Unusable
            images raise while iterating, named by path.
        """
        source = FolderSource(root, categories=categories, category_names=category_names, licence=licence)
        self.name = source.name
        self.skipped: Counter[str] = Counter()
        self.settings = {
            "kind": "folder",
            "root": str(source.root),
            "licence": licence,
            "skip_defects": skip_defects,
            "max_pixels": max_pixels,
        }
        self._root, self._truncated = source.root, truncated or {}
        self._files = [(photograph.objects[0].category, photograph.path) for photograph in source]

    def __len__(self) -> int:
        return len(self._files)

    def units(self) -> Iterator[Unit]:
        """One image each, as [category, path, truncated sides]."""
        for category, path in self._files:
            yield Unit([category, path, self._truncated.get(path)], 1, self._root / path)

    def __iter__(self) -> Iterator[CutoutRecord]:
        self.skipped.clear()
        return read_units(self.settings, (unit.item for unit in self.units()), self.skipped)


class ExtractionCutouts:
    """The kept cut-outs of one extraction (`fos cutouts`), shard by shard, with all that its records say of them."""

    def __init__(
        self,
        folder: str | Path,
        *,
        categories: Sequence[str] | None,
        category_names: Mapping[str, str] | None = None,
        licence: str = "",
    ):
        """Opens the extraction; pictures are read while iterating.

        Args:
          folder: the output of `fos cutouts`.
          categories: names that are wanted, others are left out and counted; None for all.
          category_names: the extraction's name -> the wanted name, where they differ.
          licence: of cut-outs for which the records state none.

        Raises:
          InputError: no finished extraction, one of another version, or none of its cut-outs is wanted.
        """
        self.name = f"extraction {folder}"
        self._set = CutoutSet(folder)
        self.settings = {
            "kind": "extraction",
            "root": str(folder),
            "licence": licence,
            "fingerprint": self._set.fingerprint,
        }
        names = [(category_names or {}).get(name, name) for name in self._set.column("category")]
        self._wanted = [i for i, name in enumerate(names) if categories is None or name in categories]
        if not self._wanted:
            there = ", ".join(sorted(set(names))) or "none"
            wanted = ", ".join(categories or ["any"])
            raise InputError(f"{folder}: no cut-out of a known category, expected {wanted}; there are {there}")
        others = len(names) - len(self._wanted)
        self.skipped: Counter[str] = Counter({"other category": others} if others else {})
        self._names = names

    @staticmethod
    def is_there(folder: str | Path) -> bool:
        """Whether a folder looks like the output of `fos cutouts`."""
        return all((Path(folder) / name).exists() for name in ("manifest.json", "index.parquet", "shards"))

    def __len__(self) -> int:
        return len(self._wanted)

    def units(self) -> Iterator[Unit]:
        """One cut-out each, as [id, category, source_path, licence, truncated sides, shard, row], shard by shard."""
        columns = ("id", "source_path", "licence", "truncated", "frame_width_px", "shard", "row")
        ids, paths, licences, truncated, frame_width, shards, rows = map(self._set.column, columns)
        for i in self._wanted:
            sides = truncated[i] if frame_width[i] else None  # no photograph was there to compare with
            item = [ids[i], self._names[i], paths[i], licences[i], sides, shards[i], rows[i]]
            yield Unit(item, 1, None)

    def __iter__(self) -> Iterator[CutoutRecord]:
        return read_units(self.settings, (unit.item for unit in self.units()), self.skipped)


class DatasetCutouts:
    """Foregrounds of one split of a built TFDS data set, in stored order; read without TensorFlow.

    The sides at which the photograph cut an object come from a text feature `truncated` ("left,top"), where there is
    one, else from the attribute `truncation` of its pattern.
    """

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
        self._reader = DatasetReader(builder_dir, split, category_names or {})
        self.settings = {
            "kind": "data set",
            "root": str(builder_dir),
            "split": split,
            "category_names": dict(category_names or {}),
            "files": [
                [path.name, path.stat().st_size, path.stat().st_mtime_ns]
                for path in sorted(Path(builder_dir).glob(f"*-{split.split('[')[0]}.*"))
            ],
        }

    def __len__(self) -> int:
        return len(self._reader)

    def units(self) -> Iterator[Unit]:
        """One example each: its place in the split."""
        return (Unit(place, 1, None) for place in range(len(self)))

    def __iter__(self) -> Iterator[CutoutRecord]:
        return self._reader.records(range(len(self)))


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
        categories: Sequence[str] | None,
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
          categories: names that are wanted; None for all.
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
        source = CocoSource(
            annotations, images, categories=categories, category_names=category_names, skip_defects=skip_defects
        )
        self._root = source.root
        self.settings = {
            "kind": "coco",
            "root": str(source.root),
            "skip_defects": skip_defects,
            "max_pixels": max_pixels,
        }
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

    def units(self) -> Iterator[Unit]:
        """One photograph each, with its objects, as `Photograph.to_json`."""
        for photograph in self._photographs:
            yield Unit(photograph.to_json(), len(photograph.objects), self._root / photograph.path)

    def __iter__(self) -> Iterator[CutoutRecord]:
        self.skipped.clear()
        self.skipped.update(self._skipped_at_opening)
        return read_units(self.settings, (unit.item for unit in self.units()), self.skipped)

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
