"""Checks of single fields that come from a stranger's file: each returns the plain value or raises `InputError`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fos_jax.errors import InputError

MAX_SIDE_PX = 100_000


def brief(value: Any) -> str:
    """The value as text of at most 60 characters on one line."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def check_text(value: Any, *, where: str) -> str:
    """A text that can be stored and printed."""
    if not isinstance(value, str) or not value:
        raise InputError(f"{where}: got {brief(value)}, expected text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"{where}: got {brief(value)}, which is not valid Unicode") from None
    return value


def check_id(value: Any, *, where: str) -> str:
    """An identifier, a whole number or a text, as text."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise InputError(f"{where}: got {brief(value)}, expected a whole number or text")
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise InputError(f"{where}: got {brief(value)}, expected a number of 64 bits")
        return str(value)
    return check_text(value, where=where)


def check_side_px(value: Any, *, where: str) -> int:
    """A width or height in pixels; JSON writers turn whole numbers into floats at times."""
    is_whole = isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1
    if not is_whole or not 1 <= value <= MAX_SIDE_PX:
        raise InputError(f"{where}: got {brief(value)}, expected whole pixels from 1 to {MAX_SIDE_PX:,}")
    return int(value)


def required(entry: Any, field: str, *, where: str) -> Any:
    """`entry[field]`; `InputError` where the entry is no object or has no such field."""
    if not isinstance(entry, Mapping):
        raise InputError(f"{where}: got {brief(entry)}, expected an object")
    if field not in entry:
        raise InputError(f"{where}.{field}: is missing")
    return entry[field]


def check_inside(root: Path, relative: Any, *, where: str) -> str:
    """A path that stays below `root`, also through links; returned relative, with forward slashes.

    Raises:
      InputError: not a path, absolute, or leaving the root.
    """
    text = check_text(relative, where=where)
    try:
        path = Path(text)
        has_left = path.is_absolute() or not (root / path).resolve().is_relative_to(root.resolve())
    except (ValueError, OSError, RuntimeError):  # embedded null byte, too long, a loop of links
        raise InputError(f"{where}: got {brief(text)}, expected a path") from None
    if has_left or ".." in path.parts:
        raise InputError(f"{where}: {brief(text)} leaves the folder {root}")
    return path.as_posix()


def check_folder(path: str | Path, *, where: str) -> Path:
    """An existing folder."""
    folder = Path(path)
    if not folder.is_dir():
        raise InputError(f"{where}: {path}: no such folder")
    return folder
