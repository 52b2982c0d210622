"""How well proposed groups agree with a known truth."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fos_jax.patterns.grouping import OUTLIER


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
    Source: design decision; the bounds lie between ETH-80's rings at 0, 22-45, 66-68 and 90 degrees.
    """
    bins = np.full(len(attributes), -1, np.int64)
    for row, entry in enumerate(attributes):
        if "polar_deg" in entry and "azimuth_deg" in entry:
            ring = int(np.searchsorted([11, 56, 80], entry["polar_deg"]))
            sector = int(((entry["azimuth_deg"] + 22.5) % 360) // 45)
            bins[row] = 0 if ring == 0 else 1 + (ring - 1) * 8 + sector
    return bins
