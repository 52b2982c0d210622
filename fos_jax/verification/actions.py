"""Actions of annotators: each reads the state and says what would change.

    kind        parameters                     changes
    confirm     group, cutouts (all members    own verdict: they belong to it
                where absent)
    move        cutouts, to                    they lie in `to` (also the outliers or the rejected), own verdict so
    merge       groups, into                   all members of `groups` lie in `into`; verdicts are renamed
    split       group, cutouts                 they make a group of their own, own verdict so
    reject      cutouts                        moved to the rejected of their category
    name        group, name                    its name
    attributes  group, attributes              its attributes, name -> value, all of them
    compatible  groups (two), is_marked        whatever fits one fits the other too (but they remain two patterns)
    undo        -                              takes back the annotator's last action that stands

Parameters name cut-outs and groups by number. `plan` refuses what is unknown or means nothing with an `InputError`.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fos_jax.cutouts.sources.reading import brief
from fos_jax.errors import InputError
from fos_jax.verification.state import PATTERN, REJECTED, Changes, Group, State

_MAX_NAME = 200
_MAX_ATTRIBUTES = 50


class UnknownError(InputError):
    """A cut-out or a group that does not exist (any more)."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Outcome of an action before it is taken.

    Attributes:
      changes: empty where everything is as wanted already.
      seen: groups whose revision the annotator must have seen.
    """

    changes: Changes
    seen: frozenset[int]


def plan(state: State, annotator: str, kind: str, parameters: Mapping[str, Any]) -> Outcome:
    """Says what an action (any kind but undo) would change; the state stays as it is.

    Raises:
      UnknownError: a cut-out or group does not exist.
      InputError: an unknown kind, a parameter that is missing, of a wrong type or unknown, or an action that means
        nothing (merging two categories).
    """
    if kind not in _PLANS:
        raise InputError(f"kind: got {kind!r}, expected one of {', '.join(KINDS)}")
    make, expected = _PLANS[kind]
    unknown = set(parameters) - set(expected)
    if unknown:
        raise InputError(f"{kind}: unknown parameter {min(unknown)!r}, expected {', '.join(expected)}")
    return make(state, annotator, parameters)


def check_annotator(name: Any) -> str:
    """A name of 1 to 60 printable characters, without spaces around it; `InputError` otherwise."""
    if not isinstance(name, str) or not 1 <= len(name) <= 60 or name != name.strip() or not name.isprintable():
        raise InputError(f"annotator: got {name!r}, expected a name of 1 to 60 printable characters")
    return name


def _confirm(state: State, annotator: str, parameters: Mapping[str, Any]) -> Outcome:
    group = _group(state, parameters, "group")
    cutouts = _cutouts(state, parameters) if "cutouts" in parameters else sorted(state.members[group])
    _check_inside(state, group, cutouts)
    return Outcome(Changes(verdicts=_verdicts(state, annotator, cutouts, group)), frozenset({group}))


def _move(state: State, annotator: str, parameters: Mapping[str, Any]) -> Outcome:
    return _moved(state, annotator, _cutouts(state, parameters), _group(state, parameters, "to"))


def _reject(state: State, annotator: str, parameters: Mapping[str, Any]) -> Outcome:
    cutouts = _cutouts(state, parameters)
    category = state.groups[state.group_of[cutouts[0]]].category
    return _moved(state, annotator, cutouts, state.special(category, REJECTED))


def _moved(state: State, annotator: str, cutouts: list[int], target: int) -> Outcome:
    sources = {state.group_of[cutout] for cutout in cutouts}
    _check_category(state, sources | {target})
    members = {c: (state.group_of[c], target) for c in cutouts if state.group_of[c] != target}
    changes = Changes(members=members, verdicts=_verdicts(state, annotator, cutouts, target))
    return Outcome(changes, frozenset(sources | {target}))


def _merge(state: State, annotator: str, parameters: Mapping[str, Any]) -> Outcome:
    into = _group(state, parameters, "into")
    sources = set(_numbers(parameters, "groups")) - {into}
    if not sources:
        raise InputError("groups: none but the target itself, expected at least one other group")
    for group in sources:
        _check_standing(state, group)
    _check_category(state, sources | {into})
    special = [group for group in sources | {into} if state.groups[group].kind != PATTERN]
    if special:
        kind = state.groups[special[0]].kind
        raise InputError(f"groups: {special[0]} holds the {kind}, expected patterns (move its members instead)")
    changes = Changes()
    for group in sorted(sources):
        record = state.groups[group]
        changes.groups[group] = (record, dataclasses.replace(record, merged_into=into))
        changes.members |= dict.fromkeys(sorted(state.members[group]), (group, into))
    for cutout, verdicts in state.verdicts.items():
        changes.verdicts |= {(who, cutout): (g, into) for who, g in verdicts.items() if g in sources}
    for pair in state.pairs:
        if sources & set(pair):
            changes.pairs[pair] = (True, False)
            renamed = tuple(sorted(into if group in sources else group for group in pair))
            if renamed[0] != renamed[1] and renamed not in state.pairs:
                changes.pairs[renamed[0], renamed[1]] = (False, True)
    target = state.groups[into]
    names = [state.groups[group].name for group in sorted(sources) if state.groups[group].name]
    if not target.name and names:  # the merged pattern keeps the only name there is
        changes.groups[into] = (target, dataclasses.replace(target, name=names[0]))
    return Outcome(changes, frozenset(sources | {into}))


def _split(state: State, annotator: str, parameters: Mapping[str, Any]) -> Outcome:
    group, cutouts = _group(state, parameters, "group"), _cutouts(state, parameters)
    _check_inside(state, group, cutouts)
    if state.groups[group].kind == PATTERN and len(cutouts) == len(state.members[group]):
        raise InputError(f"cutouts: all {len(cutouts)} members of group {group}, expected some of them")
    new = max(state.revisions) + 1
    changes = Changes(
        members=dict.fromkeys(cutouts, (group, new)),
        verdicts=_verdicts(state, annotator, cutouts, new),
        groups={new: (None, Group(state.groups[group].category))},
    )
    return Outcome(changes, frozenset({group}))


def _name(state: State, annotator: str, parameters: Mapping[str, Any]) -> Outcome:
    return _described(state, parameters, name=_text(parameters.get("name"), "name"))


def _attributes(state: State, annotator: str, parameters: Mapping[str, Any]) -> Outcome:
    raw = parameters.get("attributes")
    if not isinstance(raw, dict) or len(raw) > _MAX_ATTRIBUTES:
        raise InputError(f"attributes: expected an object of at most {_MAX_ATTRIBUTES} names and values")
    attributes = {_text(key, "attribute name"): _text(value, f"attribute {key}") for key, value in raw.items()}
    if not all(key and value for key, value in attributes.items()):
        raise InputError("attributes: an empty name or value, expected text")
    return _described(state, parameters, attributes=dict(sorted(attributes.items())))


def _described(state: State, parameters: Mapping[str, Any], **fields: Any) -> Outcome:
    group = _group(state, parameters, "group")
    record = state.groups[group]
    if record.kind != PATTERN:
        raise InputError(f"group: {group} holds the {record.kind}, expected a pattern")
    new = dataclasses.replace(record, **fields)
    return Outcome(Changes(groups={} if new == record else {group: (record, new)}), frozenset({group}))


def _compatible(state: State, annotator: str, parameters: Mapping[str, Any]) -> Outcome:
    pair = sorted(set(_numbers(parameters, "groups")))
    is_marked = parameters.get("is_marked", True)
    if len(pair) != 2 or not isinstance(is_marked, bool):
        raise InputError(f"groups: got {pair}, is_marked: got {is_marked!r}, expected two groups and true or false")
    for group in pair:
        _check_standing(state, group)
        if state.groups[group].kind != PATTERN:
            raise InputError(f"groups: {group} holds the {state.groups[group].kind}, expected a pattern")
    _check_category(state, pair)
    key = (pair[0], pair[1])
    was_marked = key in state.pairs
    return Outcome(Changes(pairs={} if was_marked == is_marked else {key: (was_marked, is_marked)}), frozenset(pair))


def _verdicts(state: State, annotator: str, cutouts: Iterable[int], group: int) -> dict:
    found = {(annotator, c): (state.verdicts.get(c, {}).get(annotator), group) for c in cutouts}
    return {key: both for key, both in found.items() if both[0] != both[1]}


def _numbers(parameters: Mapping[str, Any], name: str) -> list[int]:
    values = parameters.get(name)
    if not isinstance(values, list) or not values:
        raise InputError(f"{name}: got {brief(values)}, expected a list of numbers")
    wrong = [value for value in values if type(value) is not int]
    if wrong:
        raise InputError(f"{name}: got {brief(wrong[0])}, expected whole numbers")
    return values


def _cutouts(state: State, parameters: Mapping[str, Any]) -> list[int]:
    cutouts = sorted(set(_numbers(parameters, "cutouts")))
    for cutout in (cutouts[0], cutouts[-1]):
        if not 0 <= cutout < len(state.group_of):
            raise UnknownError(f"cutouts: there is no {cutout}, expected 0 to {len(state.group_of) - 1}")
    return cutouts


def _group(state: State, parameters: Mapping[str, Any], name: str) -> int:
    group = parameters.get(name)
    if type(group) is not int:
        raise InputError(f"{name}: got {brief(group)}, expected the number of a group")
    _check_standing(state, group)
    return group


def _check_standing(state: State, group: int) -> None:
    if group not in state.groups:
        raise UnknownError(f"group {group}: does not exist")
    into = state.groups[group].merged_into
    if into is not None:
        raise UnknownError(f"group {group}: was merged into group {into}")


def _check_inside(state: State, group: int, cutouts: Iterable[int]) -> None:
    outside = [cutout for cutout in cutouts if state.group_of[cutout] != group]
    if outside:
        raise InputError(f"cutouts: {outside[0]} is in group {state.group_of[outside[0]]}, not in group {group}")


def _check_category(state: State, groups: Iterable[int]) -> None:
    categories = {state.groups[group].category for group in groups}
    if len(categories) > 1:
        raise InputError(f"groups: of several categories ({', '.join(sorted(categories))}), expected one")


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or len(value) > _MAX_NAME or not value.isprintable():
        raise InputError(f"{name}: got {brief(value)}, expected at most {_MAX_NAME} printable characters")
    return value.strip()


_PLANS: dict[str, tuple[Callable[[State, str, Mapping[str, Any]], Outcome], tuple[str, ...]]] = {
    "confirm": (_confirm, ("group", "cutouts")),
    "move": (_move, ("cutouts", "to")),
    "merge": (_merge, ("groups", "into")),
    "split": (_split, ("group", "cutouts")),
    "reject": (_reject, ("cutouts",)),
    "name": (_name, ("group", "name")),
    "attributes": (_attributes, ("group", "attributes")),
    "compatible": (_compatible, ("groups", "is_marked")),
}
KINDS = (*_PLANS, "undo")
