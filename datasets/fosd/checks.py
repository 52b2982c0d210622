"""Checks of the values that a JSON file of FOSD may hold: a wrong one is reported and comes back empty."""

import json
import math
from pathlib import Path
from typing import Any

from fos_jax.datasets.fosd.names import identifier, name_defect
from fos_jax.datasets.problems import Problem, Report, shown

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
