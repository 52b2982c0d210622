"""Patterns as combinations of attributes that annotations tell."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.cutouts.records import Defects
from fos_jax.errors import InputError
from fos_jax.pattern_table import Pattern, PatternTable, attribute_phrase
from fos_jax.patterns.annotations.reading import ATTRIBUTES, check_names, cutout_attributes
from fos_jax.patterns.grouping import OUTLIER
from fos_jax.patterns.proposals import Proposals


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
    members = Counter(category for category, is_counted in zip(categories, counted, strict=True) if is_counted)
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
        none = "no attribute known" if members[category] >= min_members else "category too small"
        reasons.append(f"{unknown[0]} unknown" if unknown else "" if own else none)
        keys.append(None if reasons[-1] else (category, tuple(row[name] for name in own)))
    sizes = Counter(key for key, is_counted in zip(keys, counted, strict=True) if key is not None and is_counted)

    def order(key: tuple[str, tuple[str, ...]]) -> tuple[str, list[int]]:
        own = of_category[key[0]]
        return key[0], [ATTRIBUTES[name].values.index(value) for name, value in zip(own, key[1], strict=True)]

    kept = sorted((key for key, size in sizes.items() if size >= min_members), key=order)
    index = {key: i for i, key in enumerate(kept)}
    attributes = [dict(zip(of_category[category], own, strict=True)) for category, own in kept]
    partners = mirrors([category for category, _ in kept], attributes)
    patterns = [
        AttributePattern(category, row, mirror)
        for (category, _), row, mirror in zip(kept, attributes, partners, strict=True)
    ]
    pattern = np.array([-1 if key is None else index.get(key, -1) for key in keys], np.int64)
    return AttributePatterns(
        tuple(patterns),
        pattern,
        tuple(
            reason or ("" if number >= 0 else "pattern too small")
            for reason, number in zip(reasons, pattern, strict=True)
        ),
    )


def propose_by_attributes(
    cutouts: CutoutSet,
    names: Sequence[str],
    *,
    min_members: int = 1,
    defects: Defects | None = None,
    progress: bool = True,
) -> Proposals:
    """Proposes each combination of attributes as a group, for people to check.

    Args:
      cutouts: a finished extraction.
      names: attributes to combine, names of `ATTRIBUTES`.
      min_members: smaller groups, and cut-outs of which an attribute is unknown, are outliers.
      defects: takes what is wrong with annotations, whose cut-outs are outliers; raised at once by default.
      progress: show a bar.

    Raises:
      InputError: an unknown name, one that is known for no category, or a defect.
    """
    categories = cutouts.column("category")
    values = cutout_attributes(cutouts, names, defects=defects, progress=progress)
    grouped = group_by_attributes(categories, values, names, min_members=min_members, needs_all=True)
    return Proposals(
        cutout_ids=tuple(cutouts.column("id")),
        categories=tuple(categories),
        group=np.where(grouped.pattern >= 0, grouped.pattern, OUTLIER),
        confidence=(grouped.pattern >= 0).astype(np.float32),
        cutouts=cutouts.fingerprint,
        config={"attributes": list(check_names(names)), "min_members": min_members},
        attributes={number: dict(pattern.attributes) for number, pattern in enumerate(grouped.patterns)},
    )


def mirrors(categories: Sequence[str], attributes: Sequence[Mapping[str, str]]) -> list[int]:
    """Index of the pattern of each pattern's mirrored objects: the one with the mirrored attributes.

    Args:
      categories, attributes: of each pattern.

    Returns:
      [patterns]; -1 where there is no such pattern or more than one, or where a name or value is none of `ATTRIBUTES`.
    """
    places: dict[tuple[str, frozenset[tuple[str, str]]], list[int]] = {}
    for index, (category, row) in enumerate(zip(categories, attributes, strict=True)):
        places.setdefault((category, frozenset(row.items())), []).append(index)
    found = []
    for category, row in zip(categories, attributes, strict=True):
        is_known = row and all(name in ATTRIBUTES and value in ATTRIBUTES[name].values for name, value in row.items())
        other = frozenset((name, ATTRIBUTES[name].mirrored(value)) for name, value in row.items()) if is_known else None
        matches = places.get((category, other), []) if other is not None else []
        found.append(matches[0] if len(matches) == 1 else -1)
    return found


def pattern_table(
    patterns: Sequence[AttributePattern], counts: Mapping[tuple[int, str], int], splits: Sequence[str]
) -> PatternTable:
    """The table of a data set; attributes with one value in a category are in the descriptions only.

    Args:
      patterns: in the order of their ids, with mirrors that refer to it. Values of an attribute that is none of
        `ATTRIBUTES` stand in the order in which they come.
      counts: (pattern, split) -> foregrounds.
      splits: names of the splits.
    """
    categories = tuple(sorted({p.category for p in patterns}))
    attributes: dict[str, dict[str, tuple[str, ...]]] = {}
    for category in categories:
        own = [p.attributes for p in patterns if p.category == category]
        held = {n: dict.fromkeys(a[n] for a in own) for n in own[0]}
        values = {
            n: tuple(v for v in ATTRIBUTES[n].values if v in vs) if n in ATTRIBUTES else tuple(vs)
            for n, vs in held.items()
        }
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
