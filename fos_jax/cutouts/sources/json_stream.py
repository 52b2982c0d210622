"""Reading one JSON object whose lists may be larger than memory, entry by entry."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from fos_jax.errors import InputError

_CHUNK_CHARS = 1 << 20
_MAX_ENTRY_CHARS = 1 << 26  # the largest masks of public data are a thousandth of this
_SPACE = " \t\n\r"


def stream_entries(path: str | Path, *, max_entry_chars: int = _MAX_ENTRY_CHARS) -> Iterator[tuple[str, int, Any]]:
    """The values of a file's one JSON object in their order.

    Args:
      path: UTF-8 file.
      max_entry_chars: longer entries are refused, so memory stays bounded whatever the file holds.

    Yields:
      (key, -1, value) for a value that is no list; for a list (key, -1, []), then (key, index, entry) for each entry.

    Raises:
      InputError: cannot be read, not UTF-8, not one JSON object, a key that is there twice, or an entry too long.

    Source: design decision; json's own scanner on a sliding window is as fast as reading at once and also reads the
      NaN that Python writes, so that the field can be named where it is found.
    """
    try:
        with Path(path).open(encoding="utf-8-sig") as file:
            yield from _Window(file, str(path), max_entry_chars).entries()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 ({error.reason} at byte {error.start} of a block)") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


class _Window:
    """A part of the file's text and a position in it."""

    def __init__(self, file: TextIO, name: str, max_entry_chars: int):
        self._file, self._name, self._limit = file, name, max_entry_chars
        self._text, self._at, self._dropped, self._is_all = "", 0, 0, False
        self._decoder = json.JSONDecoder()

    def entries(self) -> Iterator[tuple[str, int, Any]]:
        self._expect("{", "one JSON object")
        seen = set()
        if self._next() == "}":
            self._at += 1
        else:
            while True:
                key = self._value()
                if not isinstance(key, str):
                    raise self._error("expected a key in quotes")
                if key in seen:
                    raise self._error(f"key {key[:40]!r} is there twice")
                seen.add(key)
                self._expect(":", "a colon after the key")
                yield from self._values_of(key)
                if self._follows_comma("}"):
                    continue
                break
        if self._next():
            raise self._error("expected nothing after the object")

    def _values_of(self, key: str) -> Iterator[tuple[str, int, Any]]:
        if self._next() != "[":
            yield key, -1, self._value()
            return
        self._at += 1
        yield key, -1, []
        if self._next() == "]":
            self._at += 1
            return
        index = 0
        while True:
            yield key, index, self._value()
            if not self._follows_comma("]"):
                return
            index += 1

    def _follows_comma(self, closing: str) -> bool:
        """Steps over a comma (True) or the closing sign (False)."""
        sign = self._next()
        if sign not in (",", closing) or not sign:
            raise self._error(f"expected a comma or {closing}")
        self._at += 1
        return sign == ","

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
