"""Simulated cost of labels in actions: with groups and spread labels, against one by one.

The annotator knows the truth. An *action* is one gesture: marking one cut-out in a grid is one, each decision on a
grid (these belong to that pattern) is one, and so is saying the pattern of a single cut-out. The page counts the same.

One by one, each cut-out costs one action, and what has no label yet is wrong. With groups: the system shows the group
(or, later, the cut-outs spread to one pattern) about which it is least certain; the annotator marks those that do not
belong, says what the rest is, and every label spreads to all others.

Purity is the share of all cut-outs whose label, given or spread, is the true one: not purity within groups, which
small groups reach without any annotator.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.errors import InputError
from fos_jax.patterns.grouping import default_config, group_rows
from fos_jax.patterns.proposal_report import annotated_truth, viewpoint_bins
from fos_jax.patterns.proposals import read_proposals
from fos_jax.verification.spread import UNLABELLED, Descriptors, Spread, read_or_describe, spread_labels


@dataclasses.dataclass(frozen=True)
class Simulated:
    """One category, or several together.

    Attributes:
      cutouts, patterns: how many there are.
      fewest_actions: the largest patterns that together reach the purity, one action each: a lower bound.
      actions: of the annotator with groups, until the purity was reached; `one_by_one`: without.
      shown: cut-outs that the annotator looked at. curve: (actions, purity) after each decision.
    """

    cutouts: int
    patterns: int
    fewest_actions: int
    actions: int
    one_by_one: int
    shown: int
    curve: tuple[tuple[int, float], ...]

    @property
    def times_fewer(self) -> float:
        return self.one_by_one / max(self.actions, 1)


def simulate(
    features: np.ndarray, proposed: np.ndarray, truth: np.ndarray, *, purity: float = 0.95, most_shown: int = 60
) -> Simulated:
    """Labels the cut-outs of one category until `purity` of them carry the true label.

    Args:
      features: float32 [n, k].
      proposed: int64 [n] proposed groups, negative for outliers.
      truth: int64 [n] true patterns, at least 0.
      purity: 0..1.
      most_shown: cut-outs on one grid.
    """
    n = len(truth)
    labels = np.full(n, UNLABELLED, np.int64)
    group = _every_one_in_a_group(proposed)
    actions = shown = 0
    curve, spread = [(0, 0.0)], None
    while curve[-1][1] < purity:
        members = _least_certain(group, labels, spread, most_shown)
        shown += len(members)
        cost, given = _judge(truth[members])
        labels[members[given >= 0]] = given[given >= 0]
        actions += cost
        # What was marked as not belonging is no longer shown with this group.
        odd = members[given < 0]
        group[odd] = group.max() + 1 + np.arange(len(odd))
        spread = spread_labels(features, labels)
        assert spread is not None
        curve.append((actions, float(np.mean(spread.label == truth))))
    needed = int(np.ceil(purity * n - 1e-9))
    sizes = np.sort(np.unique(truth, return_counts=True)[1])[::-1]
    fewest = int(np.searchsorted(np.cumsum(sizes), needed)) + 1
    return Simulated(n, len(sizes), fewest, actions, needed, shown, tuple(curve))


def together(parts: list[Simulated]) -> Simulated:
    """The sums over categories; without a curve."""
    names = [f.name for f in dataclasses.fields(Simulated) if f.name != "curve"]
    sums = {name: sum(getattr(p, name) for p in parts) for name in names}
    return Simulated(**sums, curve=())


def summary(simulated: Simulated) -> dict[str, Any]:
    """Figures for people and JSON."""
    fields = {f.name: getattr(simulated, f.name) for f in dataclasses.fields(simulated) if f.name != "curve"}
    best = simulated.one_by_one / max(simulated.fewest_actions, 1)
    return fields | {"times_fewer": round(simulated.times_fewer, 2), "times_fewer_at_best": round(best, 2)}


def clustered_descriptors(
    *, patterns: int, members: int, width: int = 32, spread: float = 0.5, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """A synthetic category: features float32 [patterns * members, width] around one centre per pattern, and the truth.

    Centres are a unit normal draw; `spread` is the deviation of members in each direction.
    """
    generator = np.random.default_rng(seed)
    truth = np.repeat(np.arange(patterns), members)
    centres = generator.normal(size=(patterns, width))
    features = centres[truth] + spread * generator.normal(size=(len(truth), width))
    return features.astype(np.float32), truth


def _every_one_in_a_group(proposed: np.ndarray) -> np.ndarray:
    group = proposed.astype(np.int64).copy()
    outliers = np.flatnonzero(group < 0)
    group[outliers] = group.max(initial=-1) + 1 + np.arange(len(outliers))
    return group


def _judge(truth: np.ndarray) -> tuple[int, np.ndarray]:
    """Cost, and labels of what was shown: the most frequent pattern's for its own, -1 for what was marked as odd.

    The annotator marks whatever is fewer, those that belong or those that do not.
    """
    patterns, counts = np.unique(truth, return_counts=True)
    main = patterns[counts.argmax()]
    belongs = truth == main
    return 1 + min(int(belongs.sum()), int((~belongs).sum())), np.where(belongs, main, UNLABELLED)


def _least_certain(group: np.ndarray, labels: np.ndarray, spread: Spread | None, most_shown: int) -> np.ndarray:
    """The unlabelled members of the group whose certainties lack most, in sum; at first the largest group."""
    open_rows = np.flatnonzero(labels == UNLABELLED)
    doubt = np.ones(len(labels)) if spread is None else 1 - spread.certainty + 1e-6
    total = np.zeros(group.max() + 1)
    np.add.at(total, group[open_rows], doubt[open_rows])
    members = open_rows[group[open_rows] == total.argmax()]
    return members[np.argsort(-doubt[members], kind="stable")][:most_shown]


Category = tuple[str, np.ndarray, np.ndarray, np.ndarray]  # name, features, proposed groups, truth: see `simulate`


def synthetic(*, patterns: int, members: int, spread: float) -> Iterator[Category]:
    """One category of `clustered_descriptors`, grouped as proposals are."""
    features, truth = clustered_descriptors(patterns=patterns, members=members, spread=spread)
    yield "synthetic", features, group_rows(features, default_config()).group, truth


def of_cutouts(folder: str, proposals_file: str | None, truth_name: str) -> Iterator[Category]:
    """The categories of extracted cut-outs with their proposals; truth: viewpoint, ring or an annotated attribute.

    Raises:
      InputError: no proposals, or those of other cut-outs.
    """
    if proposals_file is None:
        raise InputError("--proposals: missing, --cutouts needs the file that fos propose wrote for them")
    cutouts, proposals = CutoutSet(folder), read_proposals(proposals_file)
    if list(proposals.cutout_ids) != cutouts.column("id"):
        raise InputError(f"{proposals_file}: not made from {folder}, run fos propose on it first")
    if truth_name == "ring":
        truth = np.maximum(viewpoint_bins(cutouts.attributes()) + 7, 0) // 8
    else:
        truth = annotated_truth(cutouts, truth_name)
    blocks = read_or_describe(Path(proposals_file).with_name("descriptors.npz"), cutouts)
    features = Descriptors.combined(proposals.categories, blocks)
    for category, rows in features.rows.items():
        yield category, features.values[category], proposals.group[rows], truth[rows]
