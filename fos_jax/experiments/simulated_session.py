"""Verification by simulated annotators who know the truth: the same actions as on the page, in the same store."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.errors import InputError
from fos_jax.verification.state import PATTERN
from fos_jax.verification.store import Store

ASPECT = "aspect"
_TALL, _WIDE = 0.6, 1.4


def true_attributes(cutouts: CutoutSet, names: Sequence[str]) -> list[dict[str, str]]:
    """What a simulated annotator sees in each cut-out: name -> value.

    Args:
      cutouts: n cut-outs.
      names: annotated attributes, or `aspect`: whether the silhouette is tall, square or wide, a stand-in for real
        patterns where photographs carry no truth.

    Raises:
      InputError: a cut-out lacks one of them.
    """
    annotated = cutouts.attributes()
    width, height = np.array(cutouts.column("width_px")), np.array(cutouts.column("height_px"))
    result: list[dict[str, str]] = []
    for i, entry in enumerate(annotated):
        values = {}
        for name in names:
            if name == ASPECT:
                ratio = width[i] / height[i]
                values[name] = "tall" if ratio < _TALL else "wide" if ratio > _WIDE else "square"
            elif entry.get(name) is None:
                raise InputError(f"truth: {name!r} is not annotated for {cutouts.column('id')[i]}")
            else:
                values[name] = str(entry[name])
        result.append(values)
    return result


def verify_all(store: Store, truth: Sequence[Mapping[str, str]], annotator: str) -> int:
    """One annotator sorts every cut-out into the pattern of its true attributes; returns the number of actions.

    Group by group: those that do not belong go to their own pattern (or make it), the rest is confirmed, named, and
    merged with what is the same already.
    """
    before = len(store.history(limit=10**9))
    key = [tuple(sorted(values.items())) for values in truth]
    home: dict[tuple[str, tuple], int] = {}  # (category, truth) -> group
    with store.reading() as state:
        groups = [(g, state.groups[g].kind, state.groups[g].category) for g in sorted(state.standing())]
        members = {g: sorted(state.members[g]) for g, _, _ in groups}
    for group, kind, category in groups:
        by_truth: dict[tuple, list[int]] = defaultdict(list)
        for cutout in members[group]:
            by_truth[key[cutout]].append(cutout)
        if not by_truth:
            continue
        main = max(by_truth, key=lambda t: len(by_truth[t])) if kind == PATTERN else None
        for value, those in by_truth.items():
            if value == main:
                continue
            if (category, value) in home:
                _act(store, annotator, "move", {"cutouts": those, "to": home[category, value]})
            else:
                _act(store, annotator, "split", {"group": group, "cutouts": those})
                home[category, value] = _group_of(store, those[0])
                _describe(store, annotator, home[category, value], value)
        if main is None:
            continue
        _act(store, annotator, "confirm", {"group": group, "cutouts": by_truth[main]})
        if (category, main) in home:
            _act(store, annotator, "merge", {"groups": [group], "into": home[category, main]})
        else:
            home[category, main] = group
            _describe(store, annotator, group, main)
    return len(store.history(limit=10**9)) - before


def review(
    store: Store, annotator: str, *, share: float = 0.3, mistakes: float = 0.03, seed: int = 0
) -> dict[str, int]:
    """A second annotator looks at some members of each pattern, confirms most and now and then moves one wrongly.

    Args:
      share: of the members that are looked at.
      mistakes: share of those that go to another pattern of the category, where they remain disputed.
      seed: of both.

    Returns:
      How many were `confirmed` and `moved`.
    """
    generator = np.random.default_rng(seed)
    counts = {"confirmed": 0, "moved": 0}
    with store.reading() as state:
        patterns = [g for g in sorted(state.standing()) if state.groups[g].kind == PATTERN and state.members[g]]
        members = {g: sorted(state.members[g]) for g in patterns}
        category = {g: state.groups[g].category for g in patterns}
    for group in patterns:
        seen = [c for c in members[group] if generator.random() < share]
        wrong = [c for c in seen if generator.random() < mistakes]
        others = [g for g in patterns if g != group and category[g] == category[group]]
        right = [c for c in seen if c not in wrong or not others]
        if right:
            _act(store, annotator, "confirm", {"group": group, "cutouts": right})
            counts["confirmed"] += len(right)
        if wrong and others and len(wrong) < len(members[group]):
            _act(store, annotator, "move", {"cutouts": wrong, "to": int(generator.choice(others))})
            counts["moved"] += len(wrong)
    return counts


def _describe(store: Store, annotator: str, group: int, value: tuple) -> None:
    _act(store, annotator, "name", {"group": group, "name": ", ".join(f"{n} {v}" for n, v in value)})
    _act(store, annotator, "attributes", {"group": group, "attributes": dict(value)})


def _group_of(store: Store, cutout: int) -> int:
    with store.reading() as state:
        return state.group_of[cutout]


def _act(store: Store, annotator: str, kind: str, parameters: Mapping[str, Any]) -> None:
    with store.reading() as state:
        revisions = dict(state.revisions)
    store.act(annotator, kind, parameters, revisions)
