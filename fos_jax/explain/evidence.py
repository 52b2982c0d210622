"""Parts of a background that speak for a pattern or a foreground: occlusion maps and pictures of them."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from fos_jax.boxes import BoxXyxyPx
from fos_jax.errors import InputError
from fos_jax.images import MEAN_COLOUR

QueryScore = Callable[..., np.ndarray]
"""A query's inputs, stacked: uint8 [n, S, S, 3] and others [n, ...] -> float [n], what is to be explained."""


def pattern_mass(log_posterior: np.ndarray, patterns: Sequence[int]) -> np.ndarray:
    """float64 [n]: log p(one of the patterns | query) of float [n, P]; finite, at least the log of 1e-30.

    Several patterns answer for a factor: all that share an attribute's value.
    """
    probability = np.exp(np.asarray(log_posterior, np.float64)[:, list(patterns)]).sum(axis=1)
    return np.log(np.maximum(probability, 1e-30))


def occlusion_map(
    score: QueryScore,
    inputs: Sequence[np.ndarray],
    *,
    window_px: int | None = None,
    stride_px: int | None = None,
    fill: tuple[int, int, int] = MEAN_COLOUR,
) -> np.ndarray:
    """How much a query's score falls when a part of the background is covered.

    A square window in the mean colour slides over the image; each pixel gets the mean drop over the windows that
    cover it, those at the edge being cut by it. Positive: speaks for what is scored; negative: against it.

    Args:
      score: see `QueryScore`, such as the log-probability of a pattern; called once with all covered images.
      inputs: of one query: uint8 image [S, S, 3], which is covered, and whatever else the model takes.
      window_px: side of the window, S / 6 by default. stride_px: half the window by default.
      fill: RGB of the window.

    Returns: float32 [S, S], in units of the score.
    Raises: InputError for a window or stride that does not fit; ValueError for shapes.

    Source: Zeiler & Fergus, "Visualizing and understanding convolutional networks", ECCV 2014 (occlusion).
    """
    image, *others = map(np.asarray, inputs)
    if image.ndim != 3 or image.shape[0] != image.shape[1] or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image is {image.dtype} {image.shape}, expected uint8 [S, S, 3]")
    size = len(image)
    window = max(size // 6, 1) if window_px is None else window_px
    stride = max(window // 2, 1) if stride_px is None else stride_px
    if not 1 <= window <= size or not 1 <= stride <= window:
        raise InputError(f"window_px, stride_px: {window} and {stride}, expected 1 to {size} and 1 to {window}")
    # Windows begin outside the image, so that pixels at the edge are covered as often as others.
    starts = range(stride - window, size, stride)
    spans = [(slice(max(y, 0), y + window), slice(max(x, 0), x + window)) for y in starts for x in starts]
    covered = np.repeat(image[None], len(spans) + 1, axis=0)  # the last one stays as it is
    for row, span in enumerate(spans):
        covered[(row, *span)] = fill
    repeated = [np.repeat(other[None], len(covered), axis=0) for other in others]
    scores = np.asarray(score(covered, *repeated), np.float64)  # [n + 1]
    drop = scores[-1] - scores[:-1]
    total, count = np.zeros((size, size)), np.zeros((size, size))
    for span, value in zip(spans, drop, strict=True):
        total[span] += value
        count[span] += 1
    return (total / count).astype(np.float32)


def overlay(image: np.ndarray, evidence: np.ndarray, *, strength: float = 0.65) -> np.ndarray:
    """Paints evidence over an image: red for what speaks for, blue for what speaks against, grey for neither.

    Args:
      image: uint8 [S, S, 3]. evidence: float [S, S]; its largest magnitude gets the full colour.
      strength: 0..1, how opaque the full colour is.

    Returns: uint8 [S, S, 3].
    """
    if np.shape(evidence) != np.shape(image)[:2]:
        raise ValueError(f"evidence has shape {np.shape(evidence)}, expected {np.shape(image)[:2]}")
    largest = float(np.abs(evidence).max(initial=0))
    amount = np.abs(evidence)[..., None] / largest if largest > 0 else np.zeros((*np.shape(evidence), 1))
    grey = np.asarray(image, np.float64) @ np.array([[0.299], [0.587], [0.114]])  # [S, S, 1], luma of ITU-R BT.601
    colour = np.where(evidence[..., None] > 0, [214.0, 39.0, 40.0], [31.0, 119.0, 180.0])
    return np.clip(grey * (1 - strength * amount) + colour * strength * amount, 0, 255).round().astype(np.uint8)


def evidence_picture(
    photo: np.ndarray, box_xyxy_px: BoxXyxyPx, evidence: np.ndarray, window: tuple[int, int, int]
) -> np.ndarray:
    """The photograph in grey with the evidence painted over it, where the model saw it, and the rectangle outlined.

    Args:
      photo: uint8 [h, w, 3]. box_xyxy_px: the rectangle in it.
      evidence: float [S, S], over a square window of the photograph.
      window: its left, top and side in pixels; it may leave the photograph.

    Returns: uint8 [h, w, 3].
    """
    x0, y0, x1, y1 = map(int, box_xyxy_px)
    left, top, side = window
    enlarged = cv2.resize(np.asarray(evidence, np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    whole = np.zeros(photo.shape[:2], np.float32)
    inside = whole[max(top, 0) : top + side, max(left, 0) : left + side]
    inside[:] = enlarged[max(-top, 0) :, max(-left, 0) :][: inside.shape[0], : inside.shape[1]]
    thickness = max(1, max(photo.shape) // 300)
    return cv2.rectangle(overlay(photo, whole), (x0, y0), (x1 - 1, y1 - 1), (255, 255, 255), thickness)
