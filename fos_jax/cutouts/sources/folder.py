"""A folder of ready cut-outs (RGBA images), or of whole photographs, with one folder per category."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fos_jax.cutouts.records import AnnotatedObject, Defects, Photograph
from fos_jax.cutouts.sources.reading import check_folder, check_inside
from fos_jax.errors import InputError

_SUFFIXES = (".png", ".webp", ".tif", ".tiff")  # what can carry an alpha channel
_OPAQUE_SUFFIXES = (".jpg", ".jpeg", ".bmp", ".avif")


class FolderSource:
    """`<root>/<category>/*.png` (or .webp, .tif) in the order of their names; each image is its own source image."""

    def __init__(
        self,
        root: str | Path,
        *,
        categories: Sequence[str] | None = None,
        category_names: Mapping[str, str] | None = None,
        licence: str = "",
        skip_defects: bool = False,
        has_masks: bool = True,
    ):
        """Lists the folder without opening an image.

        Args:
          root: folder with one folder per category.
          categories: names that are known, after mapping; a folder of another name is an error, lest a misspelt one
            be left out. All by default.
          category_names: folder name -> known name, where they differ.
          licence: of all the images.
          skip_defects: count links that leave the root instead of raising.
          has_masks: False for whole photographs, which may also be .jpg, .bmp or .avif.

        Raises:
          InputError: no such folder, an unknown category, no image at all, or a link that leaves the root.
        """
        self.name = f"folder {root}"
        self.root = self.mask_root = check_folder(root, where="root")
        self.left_out: Counter[str] = Counter()
        self.defects = Defects(skip=skip_defects)
        self._licence = licence
        self._files: list[tuple[str, str]] = []
        suffixes = _SUFFIXES if has_masks else _SUFFIXES + _OPAQUE_SUFFIXES
        for folder in sorted(path for path in self.root.iterdir() if path.is_dir() and not path.name.startswith(".")):
            category = (category_names or {}).get(folder.name, folder.name)
            if categories is not None and category not in categories:
                raise InputError(f"{folder}: unknown category {category!r}, expected one of {', '.join(categories)}")
            for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes):
                try:
                    relative = check_inside(self.root, path.relative_to(self.root).as_posix(), where=str(folder))
                except InputError as error:
                    self.defects.add("leaves the folder", error)
                    continue
                self._files.append((category, relative))
        if not self._files:
            expected = "<category>/*.png" if has_masks else "<category>/*.jpg or *.png"
            raise InputError(f"{root}: no image found, expected {expected}")

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[Photograph]:
        for category, path in self._files:
            entry = AnnotatedObject(path, category, None, None, False, {}, str(self.root / path))
            yield Photograph(path, path, 0, 0, self._licence, (entry,))

    def close(self) -> None:
        """Nothing to release."""
