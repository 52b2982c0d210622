"""Conditions in the language of Milvus, made by the same rules that filter a gallery's columns."""

import functools
import hashlib
import itertools
import json
from collections.abc import Collection, Iterable
from typing import NamedTuple

from fos_jax.boxes import SIDES
from fos_jax.gallery.foregrounds import parse_sides


class Condition(NamedTuple):
    """A condition as text, combined as NumPy's masks are."""

    text: str

    def __and__(self, other: "Condition") -> "Condition":
        return Condition(f"({self.text} and {other.text})")

    def __or__(self, other: "Condition") -> "Condition":
        return Condition(f"({self.text} or {other.text})")

    def __invert__(self) -> "Condition":
        return Condition(f"(not {self.text})")


NEVER = Condition("(width_px < 0.0)")


class Numbers:
    """A field of numbers, to be compared."""

    def __init__(self, name: str):
        self.name = name

    def __ge__(self, value: float) -> Condition:
        return Condition(f"({self.name} >= {float(value)!r})")

    def __le__(self, value: float) -> Condition:
        return Condition(f"({self.name} <= {float(value)!r})")


class ConditionColumns:
    """Stands for `gallery.columns.Columns` where `Filters.rules` makes conditions."""

    log_aspect = Numbers("log_aspect")

    def numbers(self, name: str) -> Numbers:
        """A field of numbers."""
        return Numbers(name)

    def is_in(self, name: str, wanted: Collection[str]) -> Condition:
        """Whose string is one of the wanted; ids by their keys."""
        return is_one_of("key", map(key_of, wanted)) if name == "id" else is_one_of(name, wanted)

    def has_tags(self, wanted: Collection[str]) -> Condition:
        """Whose tags hold all of the wanted."""
        return Condition(f"array_contains_all(tags, {quote(wanted)})")

    def is_cut_only_at(self, sides: Collection[str], *, is_mirrored: bool) -> Condition:
        """Which were cut at no other sides, as they are shown."""
        fitting = [
            pack_sides(chosen) for n in range(len(sides) + 1) for chosen in itertools.combinations(sorted(sides), n)
        ]
        return Condition(f"({'mirrored_' if is_mirrored else ''}sides in {fitting})")


class ConditionPart(NamedTuple):
    """Stands for `gallery.segment.VectorsOf` where `Filters.rules` makes conditions."""

    is_mirrored: bool
    columns: ConditionColumns = ConditionColumns()


def all_of(conditions: Iterable[Condition]) -> Condition:
    """That all of one or more hold."""
    return functools.reduce(Condition.__and__, conditions)


def is_one_of(field: str, values: Iterable[str]) -> Condition:
    """That a field's string is one of some."""
    values = list(values)
    return Condition(f"({field} in {quote(values)})") if values else NEVER


def quote(values: Collection[str]) -> str:
    """Strings as a list in the language of Milvus."""
    return json.dumps(list(values), ensure_ascii=False)


def key_of(identifier: str) -> str:
    """Primary key of an id: 32 hexadecimal digits, since Milvus's client does not quote primary keys."""
    return hashlib.blake2b(identifier.encode(), digest_size=16).hexdigest()


def pack_sides(sides: Collection[str]) -> int:
    """Sides as bits."""
    return sum(1 << SIDES.index(side) for side in sides)


def packed(truncated: str | None, *, is_mirrored: bool = False) -> int:
    """Truncated sides of the metadata as bits; none where unknown."""
    return pack_sides(parse_sides(truncated, is_mirrored) or ())
