"""Patterns of annotated photographs and of the rendered world in one table, and examples labelled with them."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from fos_jax.errors import InputError
from fos_jax.experts.examples import Examples, joined_examples
from fos_jax.experts.training import Labelled
from fos_jax.pattern_table import PatternTable
from fos_jax.patterns.annotations.grouping import AttributePattern, group_by_attributes, pattern_table
from fos_jax.scenes.attributes import mirrored


def labelled_examples(
    photographs: Examples | None,
    rendered: Examples | None = None,
    *,
    names: Sequence[str] = (),
    min_members: int = 8,
) -> tuple[Labelled, PatternTable]:
    """Examples with patterns: of photographs by the attributes that annotations tell, of rendered ones by theirs.

    A category has its patterns from one of the two: those of the rendered world where it is rendered.

    Args:
      photographs: annotated ones, mirrored ones among them; None for none. Members of a pattern are cut-outs of the
        training split that are not mirrored.
      rendered: all of one split; None for none.
      names: attributes to combine in photographs. min_members: smaller patterns of photographs are left out.

    Raises:
      InputError: neither given, or an unknown attribute.
    """
    if photographs is None and rendered is None:
        raise InputError("examples: none, expected photographs or rendered ones")
    patterns: list[AttributePattern] = []
    columns, members = [], []
    rendered_categories = set() if rendered is None else set(rendered.category.tolist())
    if photographs is not None:
        member = (photographs.split == "train") & photographs.has_mask & ~photographs.mirrored
        told = [
            {} if c in rendered_categories else a
            for c, a in zip(photographs.category, photographs.attributes, strict=True)
        ]
        pattern = np.full(len(photographs), -1)
        if names:
            grouped = group_by_attributes(
                photographs.category.tolist(), told, names, min_members=min_members, is_member=member
            )
            patterns += grouped.patterns
            pattern = grouped.pattern
        columns.append(pattern)
        members.append(member)
    if rendered is not None:
        first = len(patterns)
        keys = sorted({(c, tuple(a.items())) for c, a in zip(rendered.category, rendered.attributes, strict=True)})
        for category, values in keys:
            other = (category, tuple(mirrored(dict(values)).items()))
            mirror = first + keys.index(other) if other in keys else -1
            patterns.append(AttributePattern(str(category), dict(values), mirror))
        own = [keys.index((c, tuple(a.items()))) for c, a in zip(rendered.category, rendered.attributes, strict=True)]
        columns.append(first + np.array(own))
        members.append(np.ones(len(rendered), bool))
    examples = joined_examples([e for e in (photographs, rendered) if e is not None])
    order = sorted(range(len(patterns)), key=lambda i: patterns[i].category)
    place = np.append(np.argsort(order), -1).astype(int)  # old number -> new one; -1 stays -1
    kept = tuple(dataclasses.replace(patterns[i], mirror=int(place[patterns[i].mirror])) for i in order)
    pattern = place[np.concatenate(columns)]
    numbers, count = np.unique(pattern[np.concatenate(members) & (pattern >= 0)], return_counts=True)
    table = pattern_table(kept, {(int(p), "train"): int(n) for p, n in zip(numbers, count, strict=True)}, ("train",))
    names_of = list(table.categories)
    category = np.array([names_of.index(c) if c in names_of else -1 for c in examples.category])
    return Labelled(examples, category, pattern), table


def drawn_split(source_id: np.ndarray, *, share: float, seed: int = 0) -> np.ndarray:
    """ "train" or "validation" for each example, the same for all of a photograph: str [n]."""
    sources = np.unique(source_id)
    chosen = np.random.default_rng(seed).permutation(len(sources)) < round(share * len(sources))
    return np.where(chosen[np.searchsorted(sources, source_id)], "validation", "train")
