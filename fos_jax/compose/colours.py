"""Colours of cut-outs moved toward those of the photograph around them."""

from collections.abc import Sequence

import cv2
import numpy as np

# How far around the box colours are taken from, in fractions of its longer side.
_MARGIN = 0.5
# A spread is never stretched or squeezed by more than this: flat surroundings would wash every object out.
_MAX_GAIN = 1.5
# Means of lightness and of both chroma axes move by no more than this: a red car on a lawn stays red.
_MAX_SHIFT = (25.0, 12.0, 12.0)
_SAMPLES = 100_000
# OpenCV 5.0 fails on masks of a few pixels, or blackens them.
_LEAST_POISSON_PX = 8
# Both sides are smoothed by this share of the size before they meet, or each stripe behind an object would run into it;
# and no colour moves by more than so many levels.
_SMOOTHED, _MAX_ADDED = 0.06, 60


def match_surroundings(
    photo: np.ndarray, rgba: np.ndarray, box_xyxy_px: Sequence[int], *, strength: float = 1.0
) -> np.ndarray:
    """Moves mean and standard deviation of the visible pixels in Lab toward those of the photograph around the box.

    Args:
      photo: uint8 [h, w, 3].
      rgba: uint8 [h', w', 4], what is laid over the box, of any resolution, straight alpha.
      box_xyxy_px: whole pixels; may leave the photograph.
      strength: 0 (unchanged) to 1.

    Returns:
      uint8, shape of `rgba`, alpha unchanged.

    Source: Reinhard et al., "Color Transfer between Images", 2001 (statistics in a decorrelated space); here in CIE
      Lab, with gain and shift bounded (decision 29).
    """
    target = _around(photo, box_xyxy_px)
    is_visible = rgba[..., 3] > 127
    step = _step(is_visible.size)
    own = rgba[::step, ::step, :3][is_visible[::step, ::step]]
    if not len(target) or not len(own):  # the box is the whole photograph, or nothing is opaque
        return rgba.copy()
    target, own = _lab(target[None])[0], _lab(own[None])[0]  # [m, 3], [n, 3]
    gain = np.clip(target.std(axis=0) / np.maximum(own.std(axis=0), 1e-3), 1 / _MAX_GAIN, _MAX_GAIN)
    mean = own.mean(axis=0)
    shift = np.clip(target.mean(axis=0) - mean, np.negative(_MAX_SHIFT), _MAX_SHIFT)
    gain, shift = 1 + strength * (gain - 1), strength * shift
    offset = mean + shift - mean * gain
    planes = cv2.split(_lab(rgba[..., :3]))
    lab = cv2.merge([plane * float(g) + float(o) for plane, g, o in zip(planes, gain, offset, strict=True)])
    rgb = cv2.convertScaleAbs(np.maximum(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), 0), alpha=255)
    return cv2.merge([*cv2.split(rgb), rgba[..., 3]])


def _around(photo: np.ndarray, box_xyxy_px: Sequence[int]) -> np.ndarray:
    """Some of the photograph's pixels around the box: uint8 [n, 3], none where the box is all of it."""
    x0, y0, x1, y1 = box_xyxy_px
    margin = max(1, round(_MARGIN * max(x1 - x0, y1 - y0)))
    top, left = max(0, y0 - margin), max(0, x0 - margin)
    around = photo[top : max(y1 + margin, 0), left : max(x1 + margin, 0)]
    is_around = np.ones(around.shape[:2], bool)
    is_around[max(y0 - top, 0) : max(y1 - top, 0), max(x0 - left, 0) : max(x1 - left, 0)] = False
    step = _step(is_around.size)
    return around[::step, ::step][is_around[::step, ::step]]


def _step(pixels: int) -> int:
    return max(1, int((pixels / _SAMPLES) ** 0.5))


def _lab(rgb: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(rgb.astype(np.float32) * np.float32(1 / 255), cv2.COLOR_RGB2LAB)


def blend_poisson(under: np.ndarray, rgba: np.ndarray, *, edges: tuple[bool, bool, bool, bool]) -> np.ndarray:
    """What Poisson blending adds to the colours of a cut-out, so that at its edge they come near those below it.

    Args:
      under: uint8 [h, w, 3], what lies below.
      rgba: uint8 [h, w, 4], the cut-out at the same size, straight alpha.
      edges: at which sides (left, top, right, bottom) the photograph ends; nothing is demanded of colours there.

    Returns:
      float32 [h, w, 3], smooth; carried on outside what is opaque; 0 where less than 8 px are.

    Source: Pérez et al., "Poisson Image Editing", 2003, as OpenCV's seamlessClone solves it; of smoothed colours and
      bounded (design decision).
    """
    height, width = under.shape[:2]
    # A mirrored copy beyond an edge of the photograph leaves the solution free there; elsewhere a margin holds the mask
    # off the border.
    left, top, right, bottom = (
        side if edge else 3 for edge, side in zip(edges, (width, height, width, height), strict=True)
    )
    pad = lambda picture, mode: cv2.copyMakeBorder(picture, top, bottom, left, right, mode)  # noqa: E731
    sigma = max(1.0, _SMOOTHED * max(width, height))
    below = cv2.GaussianBlur(pad(under, cv2.BORDER_REFLECT), (0, 0), sigma)
    colours = pad(_smoothed_inside(rgba, sigma), cv2.BORDER_REFLECT)
    mask = (pad(rgba[..., 3], cv2.BORDER_REFLECT) > 127).view(np.uint8)
    frame = np.zeros_like(mask)
    frame[4:-4, 4:-4] = 1
    mask *= frame
    inside = np.s_[top : top + height, left : left + width]
    x, y, w, h = cv2.boundingRect(mask)
    if min(w, h) < _LEAST_POISSON_PX:
        return np.zeros((height, width, 3), np.float32)
    mask *= np.uint8(255)
    blended = cv2.seamlessClone(colours, below, mask, (x + w // 2, y + h // 2), cv2.NORMAL_CLONE)
    is_inside = (mask[inside] > 0)[..., None]
    added = np.clip(blended[inside].astype(np.float32) - colours[inside], -_MAX_ADDED, _MAX_ADDED) * is_inside
    weights = is_inside.astype(np.float32)
    spread = np.concatenate([added, weights], axis=-1)
    wide = cv2.blur(spread, (9, 9)) + 1e-3 * cv2.blur(spread, (61, 61))
    outside = wide[..., :3] / np.maximum(wide[..., 3:], 1e-9)
    return np.where(is_inside, added, outside).astype(np.float32)


def _smoothed_inside(rgba: np.ndarray, sigma: float) -> np.ndarray:
    """uint8 [h, w, 3]: colours of what is visible, blurred; nothing else flows in."""
    *planes, alpha = cv2.split(rgba.astype(np.float32))
    weights = cv2.GaussianBlur(alpha, (0, 0), sigma) + np.float32(1e-3)
    return cv2.convertScaleAbs(cv2.merge([cv2.GaussianBlur(p * alpha, (0, 0), sigma) / weights for p in planes]))
