"""Splits that share nothing: photographs that belong together stay together."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from fos_jax.cutouts.duplicates import near_duplicate_pairs

_ROWS_AT_ONCE = 256


def linked_components(count: int, links: Iterable[tuple[int, int]]) -> np.ndarray:
    """int64 [count]: items that are linked, also through others, share a number. Library: scipy."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = np.array(list(links), np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def near_duplicate_links(hashes: np.ndarray, max_distance_bits: int) -> list[tuple[int, int]]:
    """Links that join whatever lies within the distance: exact copies in a chain, distinct hashes by all their pairs.

    Args:
      hashes: uint64 [n].
      max_distance_bits: negative: no links.
    """
    if max_distance_bits < 0 or not len(hashes):
        return []
    distinct, first, inverse = np.unique(np.asarray(hashes, np.uint64), return_index=True, return_inverse=True)
    copies = [(int(i), int(first[j])) for i, j in enumerate(inverse.reshape(-1)) if i != first[j]]
    return copies + [(int(first[a]), int(first[b])) for a, b in near_duplicate_pairs(distinct, max_distance_bits)]


def split_components(
    component: Sequence[int] | np.ndarray, label: Sequence[int] | np.ndarray, shares: Mapping[str, float], *, seed: int
) -> np.ndarray:
    """Gives each component to one split, so that every label comes as near to its shares as possible.

    Greedy, the largest component first: a component goes where its labels are missing most. scikit-learn's
    StratifiedGroupKFold refuses labels with fewer members than folds, which patterns often have.

    Args:
      component: [n] number of each item's component.
      label: [n] pattern of each item.
      shares: split -> share of the items; they sum to one.
      seed: of the order among components of one size.

    Returns:
      int64 [n]: index of each item's split in `shares`.

    Raises:
      ValueError: shares that do not sum to one.
    """
    share = np.array(list(shares.values()), np.float64)
    if abs(share.sum() - 1) > 1e-9 or (share < 0).any():
        raise ValueError(f"shares are {dict(shares)}, expected fractions that sum to 1")
    labels, label_index = np.unique(np.asarray(label), return_inverse=True)
    _, component_index, sizes = np.unique(np.asarray(component), return_inverse=True, return_counts=True)
    missing = share[:, None] * np.bincount(label_index, minlength=len(labels))  # [splits, labels]
    members = np.split(np.argsort(component_index, kind="stable"), np.cumsum(sizes)[:-1])
    shuffled = np.random.default_rng(seed).permutation(len(sizes))
    result = np.zeros(len(label_index), np.int64)
    for number in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        rows = members[number]
        here, count = np.unique(label_index[rows], return_counts=True)
        gain = np.clip(missing[:, here], 0, count).sum(1)
        # Where several splits want it equally: the one that lacks most of what it should have in all.
        lacking = missing.sum(1) / np.maximum(share, 1e-9)
        best = max(range(len(share)), key=lambda s: (round(gain[s], 9), lacking[s]))
        result[rows] = best
        missing[best, here] -= count
    return result


def closest_bits(hashes: np.ndarray, others: np.ndarray) -> tuple[int, int, int]:
    """Smallest Hamming distance between two sets of hashes, uint64 [n] and [m], and where: (bits, i, j).

    Compares all pairs: slower than what finds near-duplicates, and independent of it.
    """
    best = (65, -1, -1)
    for start in range(0, len(hashes), _ROWS_AT_ONCE):
        bits = np.bitwise_count(hashes[start : start + _ROWS_AT_ONCE, None] ^ others[None])
        i, j = np.unravel_index(bits.argmin(), bits.shape) if bits.size else (0, 0)
        if bits.size and bits[i, j] < best[0]:
            best = (int(bits[i, j]), start + int(i), int(j))
    return best
