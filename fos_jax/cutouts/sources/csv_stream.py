"""Reading CSV files row by row, whatever they hold."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from fos_jax.errors import InputError

_MAX_LINE_CHARS = 100_000  # Open Images' longest lines list clicks and have a few thousand


def stream_rows(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    """Yields (line number from 1, fields) of a UTF-8 file.

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
    path: str | Path, required: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields (line number, column -> field) by the names in the first line, whatever their order.

    Raises:
      InputError: as `stream_rows`; a required column that is missing, or a line of another length.
    """
    rows = stream_rows(path)
    header = next(rows, (1, []))[1]
    missing = [name for name in required if name not in header]
    if missing:
        raise InputError(f"{path}: line 1: columns {', '.join(missing)} are missing")
    places = {name: header.index(name) for name in (*required, *optional) if name in header}
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
