"""Where a gallery's cut-outs come from: a folder of RGBA images, a split of a data set, or COCO annotations.

Each source is an iterable of `CutoutRecord` that keeps count of what it left out and why.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from fos_jax.cutouts.sources.folder import FolderSource
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
    """

    id: str
    category: str
    rgba: np.ndarray
    source_id: str = ""
    licence: str = ""
    path: Path | None = None
    pattern: int = -1


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


def map_category(name: str, category_names: Mapping[str, str]) -> str:
    """The table's name for a source's category: as mapped, or its own."""
    return category_names.get(name, name)


def parse_category_names(text: str, *, where: str = "category_names") -> dict[str, str]:
    """Parses "potted plant=plant,tv=screen" (the source's name = the table's); `InputError` where it is not that."""
    names: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        source, equals, target = (piece.strip() for piece in part.partition("="))
        if not (source and equals and target) or source in names:
            raise InputError(f"{where}: got {part!r}, expected each name once as SOURCE=NAME")
        names[source] = target
    return names


def unskipped(error: InputError, skip_defects: bool, skipped: Counter[str], reason: str) -> None:
    """Counts a defect where the caller asked to leave such things out; raises it otherwise."""
    if not skip_defects:
        raise error
    skipped[reason] += 1


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
          root: folder with one folder a category.
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
            except InputError as error:
                unskipped(error, self._skip_defects, self.skipped, "unusable image")
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
        import tensorflow_datasets as tfds

        self.name = f"{builder_dir} {split}"
        self.skipped: Counter[str] = Counter()
        self._category_names = category_names or {}
        if not (Path(builder_dir) / "dataset_info.json").is_file():
            raise InputError(f"{builder_dir}: no built data set (dataset_info.json is missing)")
        builder = tfds.builder_from_directory(str(builder_dir))
        missing = {"id", "image", "category", "pattern", "source_id", "licence"} - set(builder.info.features)
        if missing:
            raise InputError(f"{builder_dir}: features {', '.join(sorted(missing))} are missing, expected foregrounds")
        if split.split("[")[0] not in builder.info.splits:
            raise InputError(
                f"{builder_dir}: unknown split {split!r}, expected one of {', '.join(builder.info.splits)}"
            )
        self._labels = builder.info.features["category"].names
        # Images stay encoded: `images` decodes them, as it does for every other source.
        self._source = builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()})

    def __len__(self) -> int:
        return len(self._source)

    def __iter__(self) -> Iterator[CutoutRecord]:
        for index in range(len(self._source)):
            example = self._source[index]
            yield CutoutRecord(
                id=_text(example["id"]),
                category=map_category(self._labels[int(example["category"])], self._category_names),
                rgba=read_cutout(example["image"], where=f"{self.name}, {_text(example['id'])}"),
                source_id=_text(example["source_id"]),
                licence=_text(example["licence"]),
                pattern=int(example["pattern"]),
            )


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
