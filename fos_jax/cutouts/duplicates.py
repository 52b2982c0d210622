"""Near-duplicates by perceptual hashes: found exactly, without comparing all pairs."""

import itertools

import cv2
import numpy as np
from PIL import Image

HASH_BITS = 64
_READING_SIDE_PX = 64


def perceptual_hash(pixels: np.ndarray) -> int:
    """64-bit DCT hash; a few bits differ between copies of one picture. Library: imagehash.

    Args:
      pixels: uint8 [h, w, 3], or [h, w, 4] that is zero where nothing is visible, as cut-outs are: those are laid on
        grey, so that the silhouette is part of the picture.
    """
    import imagehash

    if max(pixels.shape) > _READING_SIDE_PX:  # the hash reads 32 x 32; averaging down to twice that loses it nothing
        pixels = cv2.resize(pixels, (_READING_SIDE_PX, _READING_SIDE_PX), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY if pixels.shape[2] == 3 else cv2.COLOR_RGBA2GRAY)
    if pixels.shape[2] == 4:
        grey = cv2.add(grey, (255 - pixels[..., 3]) // 2)
    bits = imagehash.phash(Image.fromarray(grey)).hash.reshape(-1)  # bool [64]
    return int(np.packbits(bits).view(">u8")[0])


def near_duplicates(hashes: np.ndarray, max_distance_bits: int) -> np.ndarray:
    """The first kept item that each item is a near-duplicate of.

    An item is kept unless a kept item before it lies within the distance, so that chains of small changes do not
    swallow what is different: every duplicate is within the distance of the item that stands for it.

    Args:
      hashes: uint64 [n].
      max_distance_bits: largest Hamming distance of near-duplicates; negative: nothing is one.

    Returns:
      int64 [n]: index of the item that is kept instead, its own where the item is kept.

    Of d + 1 bands of bits, two hashes within distance d agree wholly in at least one, so only
    items that share a band are compared. Source: decision 21.
    """
    hashes = np.asarray(hashes, np.uint64)
    kept = np.arange(hashes.size)
    if max_distance_bits < 0 or hashes.size < 2:
        return kept
    # Exact copies first: large buckets of equal hashes would cost their square.
    distinct, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    order = np.argsort(first)  # distinct hashes in the order in which they come
    neighbours = near_duplicate_pairs(distinct[order], max_distance_bits)
    stands_for = np.arange(distinct.size)
    for later, earlier in neighbours:
        if stands_for[later] == later and stands_for[earlier] == earlier:
            stands_for[later] = earlier
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    return first[order][stands_for[rank[inverse.reshape(-1)]]]


def near_duplicate_pairs(hashes: np.ndarray, max_distance_bits: int) -> list[tuple[int, int]]:
    """(later, earlier) pairs within the distance, sorted: each item's earlier neighbours are settled before it."""
    if max_distance_bits == 0:
        return []
    edges = np.linspace(0, HASH_BITS, max_distance_bits + 2).astype(int)
    found: set[tuple[int, int]] = set()
    for start, stop in itertools.pairwise(edges.tolist()):
        band = (hashes >> np.uint64(start)) & np.uint64((1 << (stop - start)) - 1)
        order = np.argsort(band, kind="stable")
        breaks = np.flatnonzero(np.diff(band[order])) + 1
        for bucket in np.split(order, breaks):
            for position in range(1, bucket.size):
                later = bucket[position]
                earlier = bucket[:position]
                distance = np.bitwise_count(hashes[earlier] ^ hashes[later])
                found.update((int(later), int(other)) for other in earlier[distance <= max_distance_bits])
    return sorted(found)
