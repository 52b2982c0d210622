"""Verified patterns as one JSON file, which builders of data sets read. Written at any time, also half way.

    format_version   1
    cutouts          fingerprint of the cut-out set, as `CutoutSet.fingerprint`
    proposals        fingerprint of the proposals that verification began with
    last_action      number of the last action in the history; at: when this was written (UTC)
    annotators       names
    agreement        as `state.agreement` gives it, over all categories
    attributes       category -> attribute name -> its values, sorted; only of patterns that have members
    patterns         list, by category and id, of those that have members:
        id               number, stable from one export of a verification to the next
        category, name   text; the name is "" where none was given
        attributes       name -> value
        members          list, by cut-out: `cutout_id`; `confidence` of the proposal, 0..1; `verdicts`, annotator -> id
                         of a pattern, "rejected" or "outliers"; `is_verified`: most of those who judged it say that it
                         belongs here (a member nobody judged, or one in dispute, is not)
    also_compatible  list of [pattern id, pattern id]: places that fit one fit the other too, in both directions
    rejected, outliers  lists of members as above, with `category`

Which cut-outs come with what pictures, source photographs and licences stands in the cut-out set.
"""

import dataclasses
import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fos_jax.errors import InputError
from fos_jax.files import write_whole
from fos_jax.verification.state import OUTLIERS, PATTERN, REJECTED, State, agreement
from fos_jax.verification.store import Store

FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True)
class VerifiedMember:
    """One cut-out; fields as at the top of the module."""

    cutout_id: str
    category: str
    confidence: float
    verdicts: Mapping[str, int | str]
    is_verified: bool


@dataclasses.dataclass(frozen=True)
class VerifiedPattern:
    """One pattern; fields as at the top of the module."""

    id: int
    category: str
    name: str
    attributes: Mapping[str, str]
    members: tuple[VerifiedMember, ...]


@dataclasses.dataclass(frozen=True)
class VerifiedPatterns:
    """An export that was read; fields as at the top of the module."""

    cutouts: str
    proposals: str
    last_action: int
    annotators: tuple[str, ...]
    agreement: tuple[Mapping[str, Any], ...]
    attributes: Mapping[str, Mapping[str, tuple[str, ...]]]
    patterns: tuple[VerifiedPattern, ...]
    also_compatible: tuple[tuple[int, int], ...]
    rejected: tuple[VerifiedMember, ...]
    outliers: tuple[VerifiedMember, ...]


def export(store: Store) -> dict[str, Any]:
    """The JSON value described at the top of the module, of the present state."""
    with store.reading() as state:
        patterns = [group for group in state.standing() if state.groups[group].kind == PATTERN and state.members[group]]
        patterns.sort(key=lambda group: (state.groups[group].category, group))
        attributes: dict[str, dict[str, set[str]]] = {}
        for group in patterns:
            for name, value in state.groups[group].attributes.items():
                attributes.setdefault(state.groups[group].category, {}).setdefault(name, set()).add(value)
        return {
            "format_version": FORMAT_VERSION,
            "cutouts": store.cutouts,
            "proposals": store.proposals,
            "last_action": state.revision,
            "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "annotators": store.annotators(),
            "agreement": agreement(state),
            "attributes": {
                category: {name: sorted(values) for name, values in sorted(names.items())}
                for category, names in sorted(attributes.items())
            },
            "patterns": [
                {
                    "id": group,
                    "category": state.groups[group].category,
                    "name": state.groups[group].name,
                    "attributes": dict(state.groups[group].attributes),
                    "members": [_member(store, state, cutout) for cutout in sorted(state.members[group])],
                }
                for group in patterns
            ],
            "also_compatible": [list(pair) for pair in sorted(state.pairs) if set(pair) <= set(patterns)],
            "rejected": _all_of(store, state, REJECTED),
            "outliers": _all_of(store, state, OUTLIERS),
        }


def _all_of(store: Store, state: State, kind: str) -> list[dict[str, Any]]:
    cutouts = sorted(c for group in state.standing() if state.groups[group].kind == kind for c in state.members[group])
    return [{**_member(store, state, cutout), "category": store.categories[cutout]} for cutout in cutouts]


def _member(store: Store, state: State, cutout: int) -> dict[str, Any]:
    def label(group: int) -> int | str:
        kind = state.groups[group].kind
        return group if kind == PATTERN else kind

    return {
        "cutout_id": store.cutout_ids[cutout],
        "confidence": round(store.confidence[cutout], 4),
        "verdicts": {who: label(group) for who, group in sorted(state.verdicts.get(cutout, {}).items())},
        "is_verified": state.settled_group(cutout) == state.group_of[cutout],
    }


def write_export(path: str | Path, store: Store) -> None:
    """Writes the export aside and renames it; `InputError` where the disk refuses."""
    write_whole(path, json.dumps(export(store), indent=1, ensure_ascii=False))


def read_export(path: str | Path) -> VerifiedPatterns:
    """Reads an export.

    Raises:
      InputError: it cannot be read, is of another format, or contradicts itself (a cut-out twice, marks of patterns
        that it lacks).
    """
    try:
        raw = json.loads(Path(path).read_text("utf-8"))
        if raw["format_version"] != FORMAT_VERSION:
            raise InputError(f"{path}: format_version is {raw['format_version']!r}, expected {FORMAT_VERSION}")
        result = VerifiedPatterns(
            cutouts=str(raw["cutouts"]),
            proposals=str(raw["proposals"]),
            last_action=int(raw["last_action"]),
            annotators=tuple(map(str, raw["annotators"])),
            agreement=tuple(raw["agreement"]),
            attributes={c: {name: tuple(v) for name, v in names.items()} for c, names in raw["attributes"].items()},
            patterns=tuple(
                VerifiedPattern(
                    id=int(entry["id"]),
                    category=str(entry["category"]),
                    name=str(entry["name"]),
                    attributes=dict(entry["attributes"]),
                    members=tuple(_read_member(member, str(entry["category"])) for member in entry["members"]),
                )
                for entry in raw["patterns"]
            ),
            also_compatible=tuple((int(a), int(b)) for a, b in raw["also_compatible"]),
            rejected=tuple(_read_member(member, str(member["category"])) for member in raw["rejected"]),
            outliers=tuple(_read_member(member, str(member["category"])) for member in raw["outliers"]),
        )
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not an export of verified patterns ({type(error).__name__}: {error})") from None
    members = [m.cutout_id for p in result.patterns for m in p.members]
    members += [member.cutout_id for member in (*result.rejected, *result.outliers)]
    if len(set(members)) != len(members):
        raise InputError(f"{path}: cutout_id: some are there twice")
    ids = {pattern.id for pattern in result.patterns}
    if len(ids) != len(result.patterns):
        raise InputError(f"{path}: id: some patterns are there twice")
    lost = [pair for pair in result.also_compatible if not set(pair) <= ids]
    if lost:
        raise InputError(f"{path}: also_compatible: {list(lost[0])}, expected patterns of this file")
    return result


def _read_member(raw: Mapping[str, Any], category: str) -> VerifiedMember:
    return VerifiedMember(
        cutout_id=str(raw["cutout_id"]),
        category=category,
        confidence=float(raw["confidence"]),
        verdicts=dict(raw["verdicts"]),
        is_verified=bool(raw["is_verified"]),
    )
