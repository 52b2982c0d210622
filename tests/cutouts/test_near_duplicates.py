import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fos_jax.cutouts.duplicates import near_duplicates, perceptual_hash


def _naive(hashes, limit):
    kept = []
    result = []
    for index, value in enumerate(hashes):
        original = next((k for k in kept if (int(value) ^ int(hashes[k])).bit_count() <= limit), None)
        if original is None:
            kept.append(index)
        result.append(index if original is None else original)
    return result


def test_by_hand():
    hashes = np.array([0b0, 0b1, 0b11, 0b1111, 0b0], np.uint64)
    assert near_duplicates(hashes, 0).tolist() == [0, 1, 2, 3, 0]
    assert near_duplicates(hashes, 1).tolist() == [0, 0, 2, 3, 0]
    assert near_duplicates(hashes, 2).tolist() == [0, 0, 0, 3, 0]
    assert near_duplicates(hashes, -1).tolist() == [0, 1, 2, 3, 4]
    assert near_duplicates(np.zeros(0, np.uint64), 4).tolist() == []


@given(st.integers(0, 2**31), st.integers(0, 40), st.integers(0, 9))
def test_as_comparing_all_pairs(seed, count, limit):
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 2**64, max(1, count // 4), np.uint64)
    hashes = base[rng.integers(0, len(base), count)]
    for _ in range(3):  # a few flipped bits each
        hashes = hashes ^ (rng.integers(0, 2, count, np.uint64) << rng.integers(0, 64, count, np.uint64))
    assert near_duplicates(hashes, limit).tolist() == _naive(hashes, limit)


def test_copies_are_near_and_others_are_far():
    rng = np.random.default_rng(3)
    pictures = [
        cv2.resize(rng.integers(0, 256, (8, 8, 3)).astype(np.uint8), (120, 90), interpolation=cv2.INTER_CUBIC)
        for _ in range(12)
    ]
    hashes = [perceptual_hash(picture) for picture in pictures]
    assert all(0 <= value < 2**64 for value in hashes)
    copy = cv2.imdecode(cv2.imencode(".jpg", cv2.resize(pictures[0], (77, 58)))[1], cv2.IMREAD_COLOR)
    assert (perceptual_hash(copy) ^ hashes[0]).bit_count() <= 4
    others = [(a ^ b).bit_count() for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(others) > 10
