"""Untrusted annotation files: JSON and CSV read piece by piece, and checks of single fields.

A check returns the plain value or raises `InputError` naming file and field.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from fos_jax.errors import InputError

MAX_SIDE_PX = 100_000
_MAX_LINE_CHARS = 100_000  # Open Images' longest lines list clicks and have a few thousand
_CHUNK_CHARS = 1 << 20
_MAX_ENTRY_CHARS = 1 << 26  # the largest masks of public data are a thousandth of this
_SPACE = " \t\n\r"


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


def check_choice(value: Any, choices: Sequence[str], *, where: str) -> str:
    """One of some words."""
    if value not in choices:
        raise InputError(f"{where}: got {brief(value)}, expected one of {', '.join(choices)}")
    return value


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


def stream_rows(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    """Yields (line number from 1, fields) of a UTF-8 CSV file.

    Raises:
      InputError: cannot be read, not UTF-8, or no CSV; naming file and line.
    """
    line = 0
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(_bounded_lines(file, str(path)))
            for fields in reader:
                line = reader.line_num
                if fields:
                    yield line, fields
    except UnicodeDecodeError:
        raise InputError(f"{path}: line {line + 1} or a few later: not UTF-8") from None
    except csv.Error as error:
        raise InputError(f"{path}: line {line + 1}: not CSV ({error})") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def stream_columns(
    path: str | Path, wanted: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields (line number, column -> field) by the names in the first line, whatever their order.

    Raises:
      InputError: as `stream_rows`; a wanted column that is missing, or a line of another length.
    """
    rows = stream_rows(path)
    header = next(rows, (1, []))[1]
    missing = [name for name in wanted if name not in header]
    if missing:
        raise InputError(f"{path}: line 1: columns {', '.join(missing)} are missing")
    places = {name: header.index(name) for name in (*wanted, *optional) if name in header}
    for line, fields in rows:
        if len(fields) != len(header):
            raise InputError(f"{path}: line {line}: {len(fields)} fields, expected {len(header)}")
        yield line, {name: fields[place] for name, place in places.items()}


def _bounded_lines(file: TextIO, name: str) -> Iterator[str]:
    number = 0
    while text := file.readline(_MAX_LINE_CHARS):
        number += 1
        if len(text) == _MAX_LINE_CHARS:
            raise InputError(f"{name}: line {number}: longer than {_MAX_LINE_CHARS:,} characters")
        yield text


def stream_entries(path: str | Path, *, max_entry_chars: int = _MAX_ENTRY_CHARS) -> Iterator[tuple[str, int, Any]]:
    """The values of a file's one JSON object in their order; its lists may be larger than memory.

    json's own scanner on a sliding window is as fast as reading at once, and reads the NaN that Python writes, so that
    the field can be named where it is found.

    Args:
      path: UTF-8 file.
      max_entry_chars: longer entries are refused, so memory stays bounded whatever the file holds.

    Yields:
      (key, -1, value) for a value that is no list; for a list (key, -1, []), then (key, index, entry) for each entry.

    Raises:
      InputError: cannot be read, not UTF-8, not one JSON object, a key that is there twice, or an entry too long.
    """
    try:
        with Path(path).open(encoding="utf-8-sig") as file:
            yield from _Window(file, str(path), max_entry_chars).entries()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 ({error.reason} at byte {error.start} of a block)") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


class _Window:
    """A part of a JSON file's text and a position in it."""

    def __init__(self, file: TextIO, name: str, max_entry_chars: int):
        self._file, self._name, self._limit = file, name, max_entry_chars
        self._text, self._at, self._dropped, self._is_all = "", 0, 0, False
        self._decoder = json.JSONDecoder()

    def entries(self) -> Iterator[tuple[str, int, Any]]:
        self._expect("{", "one JSON object")
        seen: set[str] = set()
        while self._has_another("}", is_first=not seen):
            key = self._value()
            if not isinstance(key, str):
                raise self._error("expected a key in quotes")
            if key in seen:
                raise self._error(f"key {key[:40]!r} is there twice")
            seen.add(key)
            self._expect(":", "a colon after the key")
            if self._next() != "[":
                yield key, -1, self._value()
                continue
            self._at += 1
            yield key, -1, []
            index = 0
            while self._has_another("]", is_first=index == 0):
                yield key, index, self._value()
                index += 1
        if self._next():
            raise self._error("expected nothing after the object")

    def _has_another(self, closing: str, *, is_first: bool) -> bool:
        """Steps to the next member of an object or list (True), or over the closing sign (False)."""
        sign = self._next()
        if sign not in (",", closing) and not is_first:
            raise self._error(f"expected a comma or {closing}")
        if sign == closing or not is_first:
            self._at += 1
        return sign != closing

    def _expect(self, sign: str, what: str) -> None:
        if self._next() != sign:
            raise self._error(f"expected {what}")
        self._at += 1

    def _next(self) -> str:
        """The next character that is no space; "" at the end of the file."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _SPACE:
                    return self._text[self._at]
                self._at += 1
            if not self._read_more():
                return ""

    def _value(self) -> Any:
        self._next()
        while True:
            reason = "unexpected end"
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:  # wrong, or cut off by the window
                reason = error.msg
            except (RecursionError, ValueError) as error:  # nested too deep; a number of thousands of digits
                raise self._error(" ".join(str(error).split())) from None
            else:
                # A number may go on in the next block: "1" decodes where "1.5", or "1e+9", is cut by the window.
                if self._is_all or end + 2 < len(self._text):
                    self._at = end
                    return value
            if len(self._text) - self._at > self._limit:
                raise self._error(f"an entry is no JSON or longer than {self._limit:,} characters ({reason})")
            if not self._read_more():
                if reason == "unexpected end":
                    continue  # whole after all: the file ends with it
                raise self._error(reason)

    def _read_more(self) -> bool:
        if self._is_all:
            return False
        # Doubling keeps the retries of one long entry linear in its length.
        block = self._file.read(max(_CHUNK_CHARS, len(self._text) - self._at))
        self._dropped += self._at
        self._text, self._at = self._text[self._at :] + block, 0
        self._is_all = not block
        return bool(block)

    def _error(self, reason: str) -> InputError:
        return InputError(f"{self._name}: not JSON as expected, near character {self._dropped + self._at}: {reason}")
