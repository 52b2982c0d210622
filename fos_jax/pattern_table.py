"""The pattern table: which patterns a data set has, their categories, attributes and mirror images.

It is stored as `patterns.json` beside every data set and inside every model bundle.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fos_jax.errors import InputError

FORMAT_VERSION = 1


# Attribute -> how a value of it is said; "{}" stands for the value.
_PHRASES = {
    "yaw": "facing {}",
    "elevation": "seen from {}",
    "light": "lit from the {}",
    "state": "{}",
    "pose": "{}",
    "support": "{}",
    "season": "in {}",
    "truncation": "{}",
    "truncation_extent": "{}",
    "animal_view": "facing {}",
    "animal_posture": "{}",
    "person_facing": "facing {}",
    "person_extent": "visible down to the {}",
    "person_posture": "{}",
    "voc_pose": "facing {}",
    "voc_truncated": "{}",
    "azimuth": "facing {}",
}
_VALUES = {
    ("elevation", "high"): "above",
    ("truncation", "none"): "whole",
    ("truncation", "below"): "cut off below",
    ("truncation", "left"): "cut off at the left",
    ("truncation", "right"): "cut off at the right",
    ("truncation", "above"): "cut off above",
    ("truncation", "several"): "cut off on several sides",
    ("truncation_extent", "none"): "whole",
    ("truncation_extent", "partial"): "cut off in part",
    ("truncation_extent", "full"): "cut off all across",
    **{
        (name, value): said
        for name in ("yaw", "azimuth", "animal_view", "person_facing", "voc_pose")
        for value, said in (("front", "the viewer"), ("back", "away"))
    },
}


@functools.lru_cache(maxsize=10_000)
def attribute_phrase(name: str, value: str) -> str:
    """An attribute's value in words, such as "lit from the left"; "name: value" where no words are known for it."""
    said = _VALUES.get((name, value), value).replace("_", " ")
    return _PHRASES.get(name, f"{name.replace('_', ' ')}: {{}}").format(said)


@dataclasses.dataclass(frozen=True)
class Pattern:
    """One group of interchangeable foregrounds.

    Attributes:
      id: index of the pattern in its table.
      category: name of the category.
      attributes: attribute name -> value name; empty where patterns carry no attributes.
      description: one phrase for people.
      mirror: id of the pattern a member belongs to after a left-right flip (its own id where nothing changes,
        -1 where unknown: such foregrounds are never mirrored).
      counts: split name -> number of foregrounds.
    """

    id: int
    category: str
    attributes: Mapping[str, str]
    description: str
    mirror: int
    counts: Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class PatternTable:
    """All patterns of a data set, with the arrays that models need.

    Attributes:
      categories: category names; the index is the class id.
      attributes: category -> attribute name -> its value names, in the order of the model's outputs.
      patterns: patterns in the order of their ids.
    """

    categories: tuple[str, ...]
    attributes: Mapping[str, Mapping[str, tuple[str, ...]]]
    patterns: tuple[Pattern, ...]

    def __post_init__(self):
        for index, pattern in enumerate(self.patterns):
            where = f"pattern table, pattern {index}"
            if pattern.id != index:
                raise InputError(f"{where}: id is {pattern.id}, expected {index}")
            if pattern.category not in self.categories:
                raise InputError(f"{where}: category {pattern.category!r} is not one of {', '.join(self.categories)}")
            if not -1 <= pattern.mirror < len(self.patterns):
                raise InputError(f"{where}: mirror is {pattern.mirror}, expected -1 to {len(self.patterns) - 1}")
            known = self.attributes.get(pattern.category, {})
            if set(pattern.attributes) != set(known):
                raise InputError(f"{where}: attributes are {sorted(pattern.attributes)}, expected {sorted(known)}")
            for name, value in pattern.attributes.items():
                if value not in known[name]:
                    raise InputError(f"{where}: {name} is {value!r}, expected one of {', '.join(known[name])}")

    @property
    def num_patterns(self) -> int:
        return len(self.patterns)

    def category_id(self, name: str) -> int:
        """Class id of a category name; `InputError` lists the known names."""
        try:
            return self.categories.index(name)
        except ValueError:
            raise InputError(f"category: unknown {name!r}, expected one of {', '.join(self.categories)}") from None

    @functools.cached_property
    def category_of_pattern(self) -> np.ndarray:
        """int32 [P]: class id of each pattern."""
        return np.array([self.categories.index(p.category) for p in self.patterns], np.int32)

    @functools.cached_property
    def mirror(self) -> np.ndarray:
        """int32 [P]: pattern of the mirrored foreground, -1 where unknown."""
        return np.array([p.mirror for p in self.patterns], np.int32)

    @functools.cached_property
    def attribute_values(self) -> tuple[tuple[str, str, str], ...]:
        """(category, attribute, value) for each of the V outputs of a factorised head; V is 0 without attributes."""
        return tuple(
            (category, name, value)
            for category in self.categories
            for name, values in self.attributes.get(category, {}).items()
            for value in values
        )

    @functools.cached_property
    def attribute_group(self) -> np.ndarray:
        """int32 [V]: outputs of one (category, attribute) share a number; a softmax runs inside each group."""
        groups: dict[tuple[str, str], int] = {}
        return np.array([groups.setdefault(key[:2], len(groups)) for key in self.attribute_values], np.int32)

    @functools.cached_property
    def has_value(self) -> np.ndarray:
        """bool [P, V]: the attribute values of each pattern (one for each attribute of its category)."""
        index = {key: i for i, key in enumerate(self.attribute_values)}
        out = np.zeros((self.num_patterns, len(index)), bool)
        for p in self.patterns:
            for name, value in p.attributes.items():
                out[p.id, index[p.category, name, value]] = True
        return out

    def to_json(self) -> str:
        return json.dumps(
            {
                "format_version": FORMAT_VERSION,
                "categories": list(self.categories),
                "attributes": {c: {n: list(v) for n, v in a.items()} for c, a in self.attributes.items()},
                "patterns": [
                    {**dataclasses.asdict(p), "attributes": dict(p.attributes), "counts": dict(p.counts)}
                    for p in self.patterns
                ],
            },
            indent=1,
        )

    @classmethod
    def from_json(cls, text: str, *, where: str = "patterns.json") -> "PatternTable":
        """Parses `to_json`'s text; `InputError` names `where` and the field that is wrong."""
        try:
            raw = json.loads(text)
            if raw["format_version"] != FORMAT_VERSION:
                raise InputError(f"{where}: format_version is {raw['format_version']!r}, expected {FORMAT_VERSION}")
            return cls(
                categories=tuple(map(str, raw["categories"])),
                attributes={c: {n: tuple(v) for n, v in a.items()} for c, a in raw["attributes"].items()},
                patterns=tuple(
                    Pattern(
                        id=int(p["id"]),
                        category=str(p["category"]),
                        attributes=dict(p["attributes"]),
                        description=str(p["description"]),
                        mirror=int(p["mirror"]),
                        counts={str(k): int(v) for k, v in p["counts"].items()},
                    )
                    for p in raw["patterns"]
                ),
            )
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"{where}: not a pattern table ({type(error).__name__}: {error})") from None

    @classmethod
    def read(cls, path: str | Path) -> "PatternTable":
        """Reads `patterns.json`; raises `InputError` naming the file."""
        try:
            text = Path(path).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: cannot be read ({error})") from None
        return cls.from_json(text, where=str(path))

    def fingerprint(self) -> str:
        """Hex digest of what models depend on (categories, attributes, patterns; not counts or descriptions)."""
        core = [
            self.categories,
            {c: {n: list(v) for n, v in a.items()} for c, a in self.attributes.items()},
            [(p.category, dict(sorted(p.attributes.items())), p.mirror) for p in self.patterns],
        ]
        return hashlib.sha256(json.dumps(core, sort_keys=True).encode()).hexdigest()[:16]
