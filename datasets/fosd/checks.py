"""Checks of names and values in FOSD's files, and the places of its files: plain names only, both suffixes.

A wrong value is reported and comes back empty. Source: docs/field.md section 3.
"""

import functools
import json
import math
import os
from pathlib import Path
from typing import Any

from fos_jax.datasets.builders import Problem, Report, shown

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


BoxNorm = tuple[float, float, float, float]


class Checker:
    """Checks single values of one file; a wrong one is reported and comes back empty or as None."""

    def __init__(self, file: str, report: Report):
        self.file, self._report = file, report

    def wrong(self, key: str, got: str, expected: str, *, is_error: bool = True) -> None:
        self._report(Problem(self.file, key, got, expected, is_error))

    def mapping(self, value: Any, key: str) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        self.wrong(key, shown(value), "an object")
        return {}

    def sequence(self, value: Any, key: str) -> list[Any]:
        if isinstance(value, list):
            return value
        self.wrong(key, shown(value), "a list")
        return []

    def name(self, value: Any, key: str) -> str | None:
        if defect := name_defect(value):
            self.wrong(key, shown(value), defect)
            return None
        return value

    def category(self, value: Any, key: str) -> str | None:
        if isinstance(value, str) and value.strip() and value.isprintable():
            return value
        self.wrong(key, shown(value), "a printable category name")
        return None

    def ids(self, value: Any, key: str) -> tuple[str, ...]:
        """Identifiers of a list of file names, each once."""
        seen: dict[str, None] = {}
        for index, item in enumerate(self.sequence(value, key)):
            name = self.name(item, f"{key}[{index}]")
            if name is None:
                continue
            if identifier(name) in seen:
                self.wrong(f"{key}[{index}]", f"{shown(name)} again", "each name once (taken once)", is_error=False)
            seen[identifier(name)] = None
        return tuple(seen)

    def box(self, value: Any, key: str) -> BoxNorm | None:
        if not isinstance(value, list) or len(value) != 4:
            self.wrong(key, shown(value), "four numbers x1, y1, x2, y2")
            return None
        numbers = []
        for index, item in enumerate(value):
            is_number = isinstance(item, int | float) and not isinstance(item, bool)
            if not is_number or not math.isfinite(item if isinstance(item, float) else 0) or abs(item) > 2:
                self.wrong(f"{key}[{index}]", shown(item), "a fraction in 0..1")
                return None
            numbers.append(float(item))
        x1, y1, x2, y2 = numbers
        if not (max(x1, 0) < min(x2, 1) and max(y1, 0) < min(y2, 1)):
            self.wrong(key, shown(value), "x1 < x2 and y1 < y2 inside 0..1")
            return None
        if min(numbers) < 0 or max(numbers) > 1:
            self.wrong(key, shown(value), "fractions in 0..1 (clipped, as FOSD does)", is_error=False)
        return x1, y1, x2, y2


def read_object(path: Path, file: str, report: Report) -> dict[str, Any] | None:
    """The object that a JSON file holds, None where there is none; a key that an object holds twice is reported."""
    check = Checker(file, report)

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                check.wrong(shown(key), "the key twice in one object", "each key once")
            found[key] = value
        return found

    try:
        raw = json.loads(path.read_bytes().decode("utf-8-sig"), object_pairs_hook=once)
        if isinstance(raw, dict):
            return raw
        check.wrong("top level", shown(raw), "an object")
    except OSError as error:
        check.wrong("", f"a file that cannot be read ({error.strerror})", "a JSON file")
    except UnicodeDecodeError as error:
        check.wrong("", f"byte {error.object[error.start]:#04x} at {error.start}", "UTF-8")
    except (ValueError, RecursionError) as error:
        check.wrong("", " ".join(f"broken JSON ({error})".split()), "a JSON file")
    return None
