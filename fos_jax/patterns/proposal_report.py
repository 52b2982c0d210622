"""Agreement of proposed patterns with a known truth, and contact sheets of their members."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.errors import InputError
from fos_jax.images import prepare_cutout
from fos_jax.patterns.grouping import OUTLIER
from fos_jax.patterns.proposals import Proposals


def purity(group: np.ndarray, truth: np.ndarray) -> float:
    """Share of members whose group's most frequent truth is theirs; 0 without members.

    Args:
      group, truth: int [n], no outliers among them.

    Source: Manning et al., Introduction to Information Retrieval, section 16.3.
    """
    if not len(group):
        return 0.0
    _, g = np.unique(group, return_inverse=True)
    _, t = np.unique(truth, return_inverse=True)
    table = np.zeros((g.max() + 1, t.max() + 1), np.int64)
    np.add.at(table, (g, t), 1)
    return float(table.max(axis=1).sum() / len(group))


def measure_agreement(categories: Sequence[str], group: np.ndarray, truth: np.ndarray) -> dict[str, dict[str, Any]]:
    """Agreement by category and, under "all", their mean.

    Args:
      categories: [n].
      group: int [n], `OUTLIER` (-1) for outliers.
      truth: int [n].

    Returns:
      category -> `members`, `groups`, `truths` (how many there are), `outliers` (share), and over the members that are
      no outliers `purity`, `ari` (adjusted Rand index) and `nmi` (normalised mutual information, arithmetic).
      Purity and NMI rise with the number of groups by nature, so `chance_purity` and `chance_nmi` give the same groups
      with members drawn at random.
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    names = np.array(categories, object)
    generator = np.random.default_rng(0)
    result: dict[str, dict[str, Any]] = {}
    for category in sorted(set(categories)):
        rows = np.flatnonzero(names == category)
        inside = rows[group[rows] != OUTLIER]
        shuffled = generator.permutation(truth[inside])
        result[category] = {
            "members": int(rows.size),
            "groups": len(np.unique(group[inside])),
            "truths": len(np.unique(truth[rows])),
            "outliers": 1 - inside.size / rows.size,
            "purity": purity(group[inside], truth[inside]),
            "ari": float(adjusted_rand_score(truth[inside], group[inside])) if inside.size else 0.0,
            "nmi": float(normalized_mutual_info_score(truth[inside], group[inside])) if inside.size else 0.0,
            "chance_purity": purity(group[inside], shuffled),
            "chance_nmi": float(normalized_mutual_info_score(shuffled, group[inside])) if inside.size else 0.0,
        }
    keys = ("outliers", "purity", "ari", "nmi", "chance_purity", "chance_nmi")
    if result:
        mean = {key: float(np.mean([entry[key] for entry in result.values()])) for key in keys}
        sums = {key: sum(entry[key] for entry in result.values()) for key in ("members", "groups", "truths")}
        result["all"] = sums | mean
    return result


def worst_groups(group: np.ndarray, truth: np.ndarray, count: int) -> list[tuple[int, float]]:
    """(group, purity) of the groups with the most members that do not belong, the worst first."""
    entries = []
    for number in np.unique(group[group != OUTLIER]):
        members = truth[group == number]
        share = purity(np.zeros(len(members)), members)
        entries.append((round((1 - share) * len(members)), int(number), share))
    entries.sort(key=lambda entry: (-entry[0], entry[1]))
    return [(number, share) for _, number, share in entries[:count]]


def viewpoint_bins(attributes: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Truth by annotated viewpoint: int64 [n], -1 where none is annotated.

    Elevation by `polar_deg` (0 = from above): top (up to 11), steep (up to 56), raised (up to 80), level; azimuth in
    eight bins of 45 degrees centred on multiples of 45, but for the top view, which has one bin: 25 in all.
    The bounds lie between ETH-80's rings at 0, 22-45, 66-68 and 90 degrees.
    """
    bins = np.full(len(attributes), -1, np.int64)
    for row, entry in enumerate(attributes):
        if "polar_deg" in entry and "azimuth_deg" in entry:
            ring = int(np.searchsorted([11, 56, 80], entry["polar_deg"]))
            sector = int(((entry["azimuth_deg"] + 22.5) % 360) // 45)
            bins[row] = 0 if ring == 0 else 1 + (ring - 1) * 8 + sector
    return bins


_LABEL_PX = 190
_GAP_PX = 2


def contact_sheet(
    rows: Sequence[tuple[str, Sequence[np.ndarray]]], *, side_px: int = 64, columns: int = 16
) -> np.ndarray:
    """One row per group of cut-outs, small pictures side by side.

    Args:
      rows: label (its lines separated by newlines) and RGBA cut-outs, uint8 [h, w, 4], of each group; what goes beyond
        `columns` is left out.
      side_px: side of each picture.
      columns: most pictures in a row.

    Returns:
      uint8 [height, width, 3].
    """
    pitch = side_px + _GAP_PX
    sheet = Image.new("RGB", (_LABEL_PX + columns * pitch, max(1, len(rows)) * pitch), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (label, pictures) in enumerate(rows):
        draw.multiline_text((4, row * pitch + 4), label, fill="black")
        for column, rgba in enumerate(pictures[:columns]):
            small = Image.fromarray(prepare_cutout(rgba, side_px)[..., :3])
            sheet.paste(small, (_LABEL_PX + column * pitch, row * pitch))
    return np.asarray(sheet)


_COLUMNS = 16


def annotated_truth(cutouts: CutoutSet, name: str) -> np.ndarray:
    """The truth that annotations carry: int64 [n].

    Args:
      name: "viewpoint" (see `viewpoint_bins`), or the name of an attribute whose values are the truth.

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
        said = list(entry["attributes"].values()) or [f"confidence {entry['confidence']:.2f}"]
        rows.append(("\n".join([f"group {entry['group']} {entry['category']}", *said]), members))
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
