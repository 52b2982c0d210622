"""State of a verification: the group of each cut-out, and the verdicts of annotators.

All annotators work on one shared grouping. Beside it each annotator has verdicts: the group that he or she said a
cut-out belongs to, by confirming it there or by moving it there. Where another annotator moves a cut-out later, the
verdicts differ, and that is a disagreement. A merge says that two groups are one pattern and renames the verdicts of
both; it judges no member. Nobody works blind, so agreement measures what annotators let stand, an upper bound of what
they would find alone. Source: decision 23.

Every action is a set of changes, each with the value before and after: applying them gives the next state, applying
them reversed undoes it.
"""

import dataclasses
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

PATTERN, OUTLIERS, REJECTED = "pattern", "outliers", "rejected"


@dataclasses.dataclass(frozen=True)
class Group:
    """One group of cut-outs.

    Attributes:
      category: of all its members.
      kind: `PATTERN`; each category also has one group `OUTLIERS` (resembles nothing) and one `REJECTED` (unusable).
      name: for people, "" where none was given.
      attributes: name -> value.
      merged_into: the group that took its members; None for a group that stands.
    """

    category: str
    kind: str = PATTERN
    name: str = ""
    attributes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    merged_into: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "attributes": dict(self.attributes)}


@dataclasses.dataclass
class Changes:
    """Values before and after one action.

    Attributes:
      members: cut-out -> group before and after.
      verdicts: (annotator, cut-out) -> group before and after, None for no verdict.
      groups: group -> record before and after, None where it does not exist.
      pairs: (group, larger group) -> whether they are marked as also compatible.
    """

    members: dict[int, tuple[int, int]] = dataclasses.field(default_factory=dict)
    verdicts: dict[tuple[str, int], tuple[int | None, int | None]] = dataclasses.field(default_factory=dict)
    groups: dict[int, tuple[Group | None, Group | None]] = dataclasses.field(default_factory=dict)
    pairs: dict[tuple[int, int], tuple[bool, bool]] = dataclasses.field(default_factory=dict)

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in dataclasses.fields(self))

    def touched(self) -> set[int]:
        """Groups whose members, record or marks differ afterwards; verdicts alone touch none."""
        groups = {group for both in self.members.values() for group in both}
        return groups | set(self.groups) | {group for pair in self.pairs for group in pair}

    def reversed(self) -> "Changes":
        """What takes the action back."""
        return Changes(*({key: (b, a) for key, (a, b) in part.items()} for part in self._parts()))

    def _parts(self) -> Iterator[dict]:
        return (getattr(self, field.name) for field in dataclasses.fields(self))

    def to_json(self) -> str:
        return json.dumps(
            {
                "members": [[key, *both] for key, both in self.members.items()],
                "verdicts": [[*key, *both] for key, both in self.verdicts.items()],
                "groups": [[key, *(g and g.to_json() for g in both)] for key, both in self.groups.items()],
                "pairs": [[*key, *both] for key, both in self.pairs.items()],
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str) -> "Changes":
        raw = json.loads(text)
        return cls(
            members={key: (before, after) for key, before, after in raw["members"]},
            verdicts={(who, key): (before, after) for who, key, before, after in raw["verdicts"]},
            groups={key: (b and Group(**b), a and Group(**a)) for key, b, a in raw["groups"]},
            pairs={(a, b): (before, after) for a, b, before, after in raw["pairs"]},
        )


class State:
    """The state after `revision` actions.

    Attributes:
      revision: number of the last action.
      group_of: cut-out -> group; cut-outs are numbered from 0.
      groups: group -> record, also those that were merged away.
      members: group -> its cut-outs.
      verdicts: cut-out -> annotator -> group.
      pairs: (group, larger group) marked as also compatible.
      revisions: group -> number of the last action that touched it; 0 for the proposal. A group that an undo removed
        keeps its entry, so that its number is never given again.
    """

    def __init__(self, group_of: list[int], groups: dict[int, Group]):
        self.revision = 0
        self.group_of = group_of
        self.groups = groups
        self.members: dict[int, set[int]] = {group: set() for group in groups}
        for cutout, group in enumerate(group_of):
            self.members[group].add(cutout)
        self.verdicts: dict[int, dict[str, int]] = {}
        self.pairs: set[tuple[int, int]] = set()
        self.revisions = dict.fromkeys(groups, 0)

    def apply(self, changes: Changes, revision: int) -> None:
        """Puts the values after the action in place; they must start from the present ones."""
        for group, (_, record) in changes.groups.items():
            if record is None:
                del self.groups[group]
            else:
                self.groups[group] = record
                self.members.setdefault(group, set())
        for cutout, (before, after) in changes.members.items():
            self.members[before].discard(cutout)
            self.members[after].add(cutout)
            self.group_of[cutout] = after
        for (annotator, cutout), (_, verdict) in changes.verdicts.items():
            if verdict is not None:
                self.verdicts.setdefault(cutout, {})[annotator] = verdict
            elif annotator in self.verdicts.get(cutout, {}):
                del self.verdicts[cutout][annotator]
                if not self.verdicts[cutout]:
                    del self.verdicts[cutout]
        for pair, (_, is_marked) in changes.pairs.items():
            (self.pairs.add if is_marked else self.pairs.discard)(pair)
        for group in changes.touched():
            self.revisions[group] = revision
        self.revision = revision

    def contradictions(self, changes: Changes) -> Iterator[tuple[str, Any]]:
        """Yields (kind, key) of what `changes` no longer starts from, or what would name groups that are lost."""
        lost = {group for group, record in self.groups.items() if record.merged_into is not None}
        lost -= {group for group, (_, after) in changes.groups.items() if after and after.merged_into is None}

        def is_lost(group: int | None) -> bool:
            return group is not None and (group in lost or group not in self.groups)

        for cutout, (before, after) in changes.members.items():
            if self.group_of[cutout] != before or is_lost(after):
                yield "member", cutout
        for (annotator, cutout), (verdict, wanted) in changes.verdicts.items():
            if self.verdicts.get(cutout, {}).get(annotator) != verdict or is_lost(wanted):
                yield "verdict", cutout
        for group, (record, wanted_record) in changes.groups.items():
            is_used = wanted_record is None and self._is_used_beside(group, changes)
            if self.groups.get(group) != record or is_used:
                yield "group", group
        for pair, (was_marked, is_marked) in changes.pairs.items():
            if (pair in self.pairs) != was_marked or (is_marked and any(map(is_lost, pair))):
                yield "pair", pair[0]

    def _is_used_beside(self, group: int, changes: Changes) -> bool:
        """Somebody else put members, verdicts or marks on a group that `changes` would remove."""
        return (
            bool(self.members[group] - set(changes.members))
            or any(group in pair for pair in self.pairs)
            or any(
                verdict == group and (annotator, cutout) not in changes.verdicts
                for cutout, verdicts in self.verdicts.items()
                for annotator, verdict in verdicts.items()
            )
        )

    def standing(self) -> Iterator[int]:
        """Groups that were not merged away, in the order of their numbers."""
        return (group for group in sorted(self.groups) if self.groups[group].merged_into is None)

    def special(self, category: str, kind: str) -> int:
        """The group `OUTLIERS` or `REJECTED` of a category."""
        return next(g for g, record in self.groups.items() if record.category == category and record.kind == kind)

    def settled_group(self, cutout: int) -> int | None:
        """The group that more than half of those who judged the cut-out name; None where nobody judged or none has."""
        verdicts = list(self.verdicts.get(cutout, {}).values())
        for group in set(verdicts):
            if 2 * verdicts.count(group) > len(verdicts):
                return group
        return None

    def is_disputed(self, cutout: int) -> bool:
        """It was judged, and no group has more than half of the verdicts."""
        return cutout in self.verdicts and self.settled_group(cutout) is None

    def to_json(self) -> str:
        return json.dumps(
            {
                "revision": self.revision,
                "group_of": self.group_of,
                "groups": {group: record.to_json() for group, record in self.groups.items()},
                "verdicts": self.verdicts,
                "pairs": sorted(self.pairs),
                "revisions": self.revisions,
            },
            separators=(",", ":"),
            sort_keys=True,
        )

    @classmethod
    def from_json(cls, text: str) -> "State":
        raw = json.loads(text)
        state = cls(raw["group_of"], {int(group): Group(**record) for group, record in raw["groups"].items()})
        state.revision = raw["revision"]
        state.verdicts = {int(cutout): verdicts for cutout, verdicts in raw["verdicts"].items()}
        state.pairs = {(a, b) for a, b in raw["pairs"]}
        state.revisions = {int(group): revision for group, revision in raw["revisions"].items()}
        return state


def proposed_state(
    categories: list[str], proposed: list[int], attributes: Mapping[int, Mapping[str, str]] | None = None
) -> State:
    """The state before any action.

    Args:
      categories: [n] of the cut-outs.
      proposed: [n] proposed group, negative for outliers.
      attributes: group -> its proposed attributes.
    """
    known = attributes or {}
    groups = {
        group: Group(category, attributes=dict(known.get(group, {})))
        for group, category in zip(proposed, categories, strict=True)
        if group >= 0
    }
    following = max(groups, default=-1) + 1
    outliers = {}
    for category in sorted(set(categories)):
        outliers[category] = following
        groups[following] = Group(category, OUTLIERS)
        groups[following + 1] = Group(category, REJECTED)
        following += 2
    group_of = [g if g >= 0 else outliers[c] for g, c in zip(proposed, categories, strict=True)]
    return State(group_of, dict(sorted(groups.items())))


def agreement(state: State, *, category: str | None = None) -> list[dict[str, Any]]:
    """Compares the verdicts of every two annotators.

    Args:
      state: of the verification.
      category: only its cut-outs.

    Returns:
      For each pair that judged some cut-out both: `annotators` (two names), `cutouts` (how many both judged), `same`
      (share with the same verdict), `ari` (adjusted Rand index of the two groupings) and `kappa` (Cohen's; the group is
      the label, and the rejected are a group too). Kappa is None where both used one and the same label
      throughout, ARI where there is one cut-out only.

    Source: Hubert and Arabie, 1985, and Cohen, 1960, as scikit-learn has them; see `state` for what the verdicts mean.
    """
    from sklearn.metrics import adjusted_rand_score, cohen_kappa_score

    common: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for cutout, verdicts in sorted(state.verdicts.items()):
        if category is None or state.groups[state.group_of[cutout]].category == category:
            for a, b in itertools.combinations(sorted(verdicts), 2):
                common.setdefault((a, b), []).append((verdicts[a], verdicts[b]))
    result = []
    for pair, labels in sorted(common.items()):
        first, second = zip(*labels, strict=True)
        is_varied = len({*first, *second}) > 1
        result.append(
            {
                "annotators": list(pair),
                "cutouts": len(labels),
                "same": sum(a == b for a, b in labels) / len(labels),
                "ari": float(adjusted_rand_score(first, second)) if len(labels) > 1 else None,
                "kappa": float(cohen_kappa_score(first, second)) if is_varied else None,
            }
        )
    return result


def disagreements(state: State, *, category: str | None = None) -> list[dict[str, Any]]:
    """The queue of cut-outs without a majority: `cutout`, `group` (where it lies) and `verdicts`.

    Those that most annotators judged come first. One more verdict, or a changed one, that makes a majority takes a
    cut-out off the queue.
    """
    queue = [
        {"cutout": cutout, "group": state.group_of[cutout], "verdicts": dict(sorted(verdicts.items()))}
        for cutout, verdicts in state.verdicts.items()
        if state.is_disputed(cutout) and (category is None or state.groups[state.group_of[cutout]].category == category)
    ]
    return sorted(queue, key=lambda entry: (-len(entry["verdicts"]), entry["cutout"]))


def progress(state: State, annotator: str) -> dict[str, dict[str, int]]:
    """Category -> `cutouts`, `patterns`, `judged` (by anybody), `mine` (by the annotator), `disputed`, `rejected`."""
    result: dict[str, dict[str, int]] = {}
    for group in state.standing():
        record, members = state.groups[group], state.members[group]
        names = ("cutouts", "patterns", "judged", "mine", "disputed", "rejected")
        entry = result.setdefault(record.category, dict.fromkeys(names, 0))
        entry["cutouts"] += len(members)
        entry["patterns"] += record.kind == "pattern" and bool(members)
        entry["rejected"] += len(members) if record.kind == "rejected" else 0
        for cutout in members:
            verdicts = state.verdicts.get(cutout)
            if verdicts:
                entry["judged"] += 1
                entry["mine"] += annotator in verdicts
                entry["disputed"] += state.is_disputed(cutout)
    return result
