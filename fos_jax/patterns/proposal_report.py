"""Pictures and figures about proposed patterns."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.errors import InputError
from fos_jax.patterns.agreement import viewpoint_bins, worst_groups
from fos_jax.patterns.contact_sheet import contact_sheet
from fos_jax.patterns.grouping import OUTLIER
from fos_jax.patterns.proposals import Proposals

_COLUMNS = 16


def annotated_truth(cutouts: CutoutSet, name: str) -> np.ndarray:
    """The truth that annotations carry: int64 [n].

    Args:
      name: "viewpoint" (see `agreement.viewpoint_bins`), or the name of an attribute whose values are the truth.

    Raises:
      InputError: a cut-out has no such attribute.
    """
    attributes = cutouts.attributes()
    if name == "viewpoint":
        truth = viewpoint_bins(attributes)
        lacking = np.flatnonzero(truth < 0)
    else:
        values = [None if entry.get(name) is None else str(entry[name]) for entry in attributes]
        lacking = np.flatnonzero([value is None for value in values])
        truth = np.unique([str(value) for value in values], return_inverse=True)[1].reshape(-1)
    if lacking.size:
        example = cutouts.column("id")[lacking[0]]
        raise InputError(f"truth: {name!r} is not annotated for {lacking.size} cut-outs, such as {example}")
    return truth.astype(np.int64)


def worst_sheet(cutouts: CutoutSet, proposals: Proposals, truth: np.ndarray, *, count: int = 24) -> np.ndarray:
    """The groups with the most members that do not belong, each ordered by truth: uint8 [h, w, 3]."""
    chosen = worst_groups(proposals.group, truth, count)
    rows = []
    for number, share in chosen:
        members = np.flatnonzero(proposals.group == number)
        members = members[np.argsort(truth[members], kind="stable")]
        label = f"group {number} {proposals.categories[members[0]]}\npurity {share:.2f}, {members.size} members"
        rows.append((label, members))
    return _sheet(cutouts, rows)


def group_sheet(cutouts: CutoutSet, proposals: Proposals, *, count: int = 40, with_outliers: bool = True) -> np.ndarray:
    """Groups spread over all categories and confidences, most confident members first: uint8 [h, w, 3]."""
    groups = proposals.groups()
    places = np.unique(np.linspace(0, len(groups) - 1, min(count, len(groups))).astype(int))
    rows = []
    for entry in (groups[place] for place in places):
        members = np.flatnonzero(proposals.group == entry["group"])
        members = members[np.argsort(-proposals.confidence[members], kind="stable")]
        rows.append((f"group {entry['group']} {entry['category']}\nconfidence {entry['confidence']:.2f}", members))
    outliers = np.flatnonzero(proposals.group == OUTLIER)
    if with_outliers and outliers.size:
        rows.append((f"outliers: {outliers.size}", outliers))
    return _sheet(cutouts, rows)


def _sheet(cutouts: CutoutSet, rows: Sequence[tuple[str, Any]]) -> np.ndarray:
    wanted = sorted({int(index) for _, members in rows for index in members[:_COLUMNS]})
    pictures = dict(cutouts.pictures(wanted)) if wanted else {}
    return contact_sheet(
        [(label, [pictures[int(index)] for index in members[:_COLUMNS]]) for label, members in rows], columns=_COLUMNS
    )
