"""Names and places of FOSD's files: plain names only, both suffixes, both spellings.

Source: field.md section 3.
"""

import functools
import os
from pathlib import Path

from fos_jax.datasets.problems import Problem, Report

SUFFIXES = (".png", ".jpg")  # FOSD's README shows .jpg, its script writes .png
_MAX_NAME_BYTES = 255


def name_defect(name: object) -> str | None:
    """Why a value of an annotation cannot name a file of one folder; None where it can.

    Names hold no separators, so that no annotation can point outside its folder.
    """
    if not isinstance(name, str):
        return "a file name"
    try:
        length = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        return "a file name in valid Unicode"
    if not 0 < length <= _MAX_NAME_BYTES:
        return f"a file name of 1 to {_MAX_NAME_BYTES} bytes"
    if "/" in name or "\\" in name or name.startswith(".") or not name.isprintable():
        return "a plain file name (no folders, no leading dot, nothing unprintable)"
    return None


def identifier(name: str) -> str:
    """The name without .png or .jpg: what background, foreground and mask of one object share."""
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in SUFFIXES and stem else name


def source_id(object_id: str) -> str:
    """The Open Images ImageID in `<ImageID>_<label>_<BoxID>`."""
    return object_id.split("_", 1)[0]


def mask_place(object_id: str) -> str:
    """A mask's path below `labels/masks`: by the first character of the ImageID, upper case."""
    return f"{object_id[0].upper()}/{object_id}.png"


class Tree:
    """Finds files of one manual directory; folders are listed once."""

    def __init__(self, root: str | Path):
        self.root = Path(root)
        self._names = functools.cache(self._list)

    def first(self, *spellings: str, report: Report) -> str:
        """The first of the spellings that exists, the first of all where none does; several are worth a note."""
        there = [spelling for spelling in spellings if (self.root / spelling).exists()]
        if len(there) > 1:
            report(Problem(there[1], "", f"also {there[0]}", "one of them (the latter is read)", is_error=False))
        return there[0] if there else spellings[0]

    def shown(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def find(self, folder: str, name: str) -> Path | None:
        """The file of a folder, under its own suffix or the other one; None where there is none.

        `name` must be free of defects. A link that leads out of its folder is as good as no file.
        """
        stem = identifier(name)
        for candidate in (name, *(stem + suffix for suffix in SUFFIXES)):
            if candidate in self._names(folder):
                return self.root / folder / candidate
        return None

    def _list(self, folder: str) -> frozenset[str]:
        path = self.root / folder
        try:
            with os.scandir(path) as entries:
                return frozenset(e.name for e in entries if e.is_file() and self._stays(path, e))
        except (OSError, ValueError):
            return frozenset()

    @staticmethod
    def _stays(folder: Path, entry: os.DirEntry) -> bool:
        return not entry.is_symlink() or Path(entry.path).resolve().is_relative_to(folder.resolve())
