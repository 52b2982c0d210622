"""The patterns of the procedural world: categories, their attributes and the mirror relation.

Every cue is symmetric under a left-right flip of the world (lanes carry no national traffic side; stop lines, walls
and shore lines say which way things face), so a mirrored image simply takes its mirrored pattern.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from fos_jax.errors import InputError
from fos_jax.pattern_table import Pattern, PatternTable, attribute_phrase

YAW_8 = ("front", "front_right", "right", "back_right", "back", "back_left", "left", "front_left")
YAW_4 = ("front", "right", "back", "left")
YAW_DIAGONAL = ("front_right", "back_right", "back_left", "front_left")
ELEVATIONS = ("low", "high")
LIGHTS = ("left", "right")
YAW_RAD = {name: i * math.pi / 4 for i, name in enumerate(YAW_8)}  # from facing the viewer, toward the image's right
_MIRROR = {"left": "right", "right": "left"}


@dataclasses.dataclass(frozen=True)
class Kind:
    """One category.

    Attributes:
      attributes: attribute name -> value names.
      excluded: combinations (subsets of attributes) that do not occur.
    """

    attributes: Mapping[str, tuple[str, ...]]
    excluded: tuple[Mapping[str, str], ...] = ()

    def combinations(self) -> list[dict[str, str]]:
        """The patterns' attributes, in the order of the pattern ids."""
        names = list(self.attributes)
        rows = [dict(zip(names, v, strict=True)) for v in itertools.product(*self.attributes.values())]
        return [r for r in rows if not any(all(r[k] == v for k, v in ex.items()) for ex in self.excluded)]


_VIEW = {"elevation": ELEVATIONS, "light": LIGHTS}
KINDS: Mapping[str, Kind] = {
    "car": Kind({"yaw": YAW_8, **_VIEW}),
    "chair": Kind({"yaw": YAW_8, **_VIEW}),
    "person": Kind({"state": ("standing", "sitting"), "yaw": YAW_4, **_VIEW}, ({"state": "sitting", "yaw": "back"},)),
    "boat": Kind({"state": ("afloat", "ashore"), "yaw": YAW_4, **_VIEW}),
    "bottle": Kind({"pose": ("upright", *(f"lying_{yaw}" for yaw in YAW_DIAGONAL)), **_VIEW}),
    "potted_plant": Kind({"support": ("standing", "hanging"), "season": ("summer", "winter"), **_VIEW}),
    "dog": Kind({"state": ("standing", "sitting"), "yaw": YAW_4, **_VIEW}, ({"state": "sitting", "yaw": "back"},)),
    "truck": Kind({"yaw": YAW_8, **_VIEW}),
}
CATEGORIES = tuple(KINDS)


def mirrored(attributes: Mapping[str, str]) -> dict[str, str]:
    """Attributes after a left-right flip: every word `left` or `right` in a value changes sides."""
    return {name: "_".join(_MIRROR.get(word, word) for word in value.split("_")) for name, value in attributes.items()}


def reversed_way(attributes: Mapping[str, str]) -> dict[str, str]:
    """Attributes of the same thing heading the other way (light and camera unchanged)."""
    swap = {**_MIRROR, "front": "back", "back": "front"}
    yaw = {"yaw": "_".join(swap[w] for w in attributes["yaw"].split("_"))} if "yaw" in attributes else {}
    return {**attributes, **yaw}


def pattern_rows(category: str) -> list[dict[str, str]]:
    """Attributes of each pattern of a category; `InputError` for an unknown one."""
    if category not in KINDS:
        raise InputError(f"category: unknown {category!r}, expected one of {', '.join(KINDS)}")
    return KINDS[category].combinations()


def reverse_index(category: str) -> np.ndarray:
    """int32 [patterns]: the pattern that heads the other way, itself where that one does not exist."""
    rows = pattern_rows(category)
    return np.array([rows.index(r) if (r := reversed_way(a)) in rows else i for i, a in enumerate(rows)], np.int32)


def attribute_index(category: str) -> dict[str, np.ndarray]:
    """attribute -> int32 [patterns]: index of each pattern's value."""
    rows = pattern_rows(category)
    return {n: np.array([v.index(r[n]) for r in rows], np.int32) for n, v in KINDS[category].attributes.items()}


def _describe(category: str, attributes: Mapping[str, str]) -> str:
    return f"{category.replace('_', ' ')}, {', '.join(map(attribute_phrase, attributes, attributes.values()))}"


def pattern_table(
    categories: Sequence[str] = CATEGORIES, *, counts: Mapping[tuple[str, int], Mapping[str, int]] | None = None
) -> PatternTable:
    """The table of a data set with these categories; `InputError` for an unknown one.

    Args:
      categories: in the order of the class ids.
      counts: (category, pattern inside the category) -> split -> number of foregrounds.
    """
    patterns: list[Pattern] = []
    for category in categories:
        rows = pattern_rows(category)
        first = len(patterns)
        for i, row in enumerate(rows):
            patterns.append(
                Pattern(
                    id=first + i,
                    category=category,
                    attributes=row,
                    description=_describe(category, row),
                    mirror=first + rows.index(mirrored(row)),
                    counts=dict((counts or {}).get((category, i), {})),
                )
            )
    return PatternTable(
        categories=tuple(categories),
        attributes={c: dict(KINDS[c].attributes) for c in categories},
        patterns=tuple(patterns),
    )
