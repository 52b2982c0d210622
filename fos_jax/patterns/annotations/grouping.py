"""Patterns as combinations of attributes that annotations tell."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from fos_jax.errors import InputError
from fos_jax.pattern_table import Pattern, PatternTable, attribute_phrase
from fos_jax.patterns.annotations.reading import ATTRIBUTES, check_names


@dataclasses.dataclass(frozen=True)
class AttributePattern:
    """One combination of attribute values within a category.

    Attributes:
      category: name of the category.
      attributes: attribute name -> value, for each attribute of the category.
      mirror: index of the pattern of the mirrored objects, its own where nothing changes, -1 where there is none.
    """

    category: str
    attributes: Mapping[str, str]
    mirror: int

    @property
    def description(self) -> str:
        return describe(self.category, self.attributes)


@dataclasses.dataclass(frozen=True)
class AttributePatterns:
    """Patterns of n objects.

    Attributes:
      patterns: by category, then in the order of the values.
      pattern: int64 [n], index in `patterns`; -1 where there is none.
      reasons: [n], why there is none; "" where there is one.
    """

    patterns: tuple[AttributePattern, ...]
    pattern: np.ndarray
    reasons: tuple[str, ...]


def describe(category: str, attributes: Mapping[str, str]) -> str:
    """One phrase for people, such as "dog, facing left, cut off below"."""
    return ", ".join([category.replace("_", " "), *map(attribute_phrase, attributes, attributes.values())])


def group_by_attributes(
    categories: Sequence[str],
    values: Sequence[Mapping[str, str]],
    names: Sequence[str],
    *,
    min_members: int = 1,
    is_member: np.ndarray | None = None,
    needs_all: bool = False,
) -> AttributePatterns:
    """Makes a pattern of each combination of values within a category that has members enough.

    A category has the attributes that are known for at least `min_members` of its members: cars have no posture. An
    object of which one of these is unknown has no pattern.

    Args:
      categories: [n].
      values: [n], as `annotation_attributes` gives them.
      names: attributes to combine, names of `ATTRIBUTES`.
      min_members: smaller patterns are left out.
      is_member: bool [n]: objects that count as members, the others only get the patterns; all by default.
      needs_all: refuse a name that no category has.

    Raises:
      InputError: an unknown name, or a missing one with `needs_all`.
    """
    names = check_names(names)
    counted = np.ones(len(categories), bool) if is_member is None else np.asarray(is_member, bool)
    known = Counter(
        (category, name)
        for category, row, is_counted in zip(categories, values, counted, strict=True)
        for name in row
        if is_counted
    )
    of_category = {
        category: tuple(name for name in names if known[category, name] >= max(min_members, 1))
        for category in sorted(set(categories))
    }
    missing = [name for name in names if not any(name in own for own in of_category.values())]
    if needs_all and missing:
        raise InputError(
            f"attributes: {missing[0]} is known for fewer than {min_members} cut-outs of each category, expected "
            "annotations that carry it"
        )
    keys: list[tuple[str, tuple[str, ...]] | None] = []
    reasons = []
    for category, row in zip(categories, values, strict=True):
        own = of_category[category]
        unknown = [name for name in own if name not in row]
        reasons.append(f"{unknown[0]} unknown" if unknown else "" if own else "no attribute known")
        keys.append(None if reasons[-1] else (category, tuple(row[name] for name in own)))
    sizes = Counter(key for key, is_counted in zip(keys, counted, strict=True) if key is not None and is_counted)

    def order(key: tuple[str, tuple[str, ...]]) -> tuple[str, list[int]]:
        own = of_category[key[0]]
        return key[0], [ATTRIBUTES[name].values.index(value) for name, value in zip(own, key[1], strict=True)]

    kept = sorted((key for key, size in sizes.items() if size >= min_members), key=order)
    index = {key: i for i, key in enumerate(kept)}
    patterns = []
    for category, own_values in kept:
        own = of_category[category]
        other = tuple(ATTRIBUTES[name].mirrored(value) for name, value in zip(own, own_values, strict=True))
        attributes = dict(zip(own, own_values, strict=True))
        patterns.append(AttributePattern(category, attributes, index.get((category, other), -1)))
    pattern = np.array([-1 if key is None else index.get(key, -1) for key in keys], np.int64)
    return AttributePatterns(
        tuple(patterns),
        pattern,
        tuple(
            reason or ("" if number >= 0 else "pattern too small")
            for reason, number in zip(reasons, pattern, strict=True)
        ),
    )


def pattern_table(
    patterns: Sequence[AttributePattern], counts: Mapping[tuple[int, str], int], splits: Sequence[str]
) -> PatternTable:
    """The table of a data set; attributes with one value in a category are in the descriptions only.

    Args:
      patterns: in the order of their ids, with mirrors that refer to it.
      counts: (pattern, split) -> foregrounds.
      splits: names of the splits.
    """
    categories = tuple(sorted({p.category for p in patterns}))
    attributes: dict[str, dict[str, tuple[str, ...]]] = {}
    for category in categories:
        own = [p.attributes for p in patterns if p.category == category]
        values = {n: tuple(v for v in ATTRIBUTES[n].values if any(a[n] == v for a in own)) for n in own[0]}
        attributes[category] = {name: found for name, found in values.items() if len(found) > 1}
    rows = [
        Pattern(
            id=i,
            category=p.category,
            attributes={name: p.attributes[name] for name in attributes[p.category]},
            description=p.description,
            mirror=p.mirror,
            counts={split: counts.get((i, split), 0) for split in splits},
        )
        for i, p in enumerate(patterns)
    ]
    return PatternTable(categories, attributes, tuple(rows))
