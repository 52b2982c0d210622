"""Composites: a cut-out pasted into the rectangle of a photograph, its colours moved toward the surroundings."""

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np

from fos_jax.boxes import check_box_xyxy_px
from fos_jax.errors import InputError
from fos_jax.images import resize_rgba, visible_box_xyxy_px

Fit = Literal["contain", "cover", "stretch"]
# How far around the rectangle colours are taken from, in fractions of its longer side.
_MARGIN = 0.5
# A spread is never stretched or squeezed by more than this: flat surroundings would wash every object out.
_MAX_GAIN = 1.5


def paste_cutout(
    photo: np.ndarray,
    cutout: np.ndarray,
    box_xyxy_px: Sequence[float],
    *,
    fit: Fit = "contain",
    anchor: tuple[float, float] = (0.5, 1.0),
    harmonise: float = 0.0,
) -> np.ndarray:
    """The photograph with the visible part of the cut-out in its rectangle.

    Args:
      photo: uint8 [h, w, 3].
      cutout: uint8 [h', w', 4], straight alpha.
      box_xyxy_px: the rectangle in the photograph; nothing outside it changes.
      fit: "contain" scales the cut-out until it fills one side of the rectangle, "cover" until it fills both (the rest
        is cut off), both with its aspect kept; "stretch" fills both sides.
      anchor: where the cut-out lies when sides differ, as fractions of the free width and height; things stand on the
        ground, so the bottom centre by default.
      harmonise: 0 leaves the colours, 1 moves their mean and spread wholly to the surroundings' (`match_surroundings`).

    Returns:
      uint8 [h, w, 3], a new array.

    Raises:
      InputError: the rectangle leaves the photograph, nothing of the cut-out is visible, or an option is unknown.

    Source: decision 29.
    """
    height, width = photo.shape[:2]
    x0, y0, x1, y1 = check_box_xyxy_px(box_xyxy_px, width, height)
    if not 0 <= harmonise <= 1:
        raise InputError(f"harmonise: got {harmonise!r}, expected 0 to 1")
    left, top, right, bottom = visible_box_xyxy_px(cutout)
    visible = cutout[top:bottom, left:right]
    new_width, new_height = fitted_size(right - left, bottom - top, x1 - x0, y1 - y0, fit=fit)
    scaled = resize_rgba(visible, new_width, new_height)
    # Offsets are negative where "cover" overflows the rectangle.
    dx = round((x1 - x0 - new_width) * anchor[0])
    dy = round((y1 - y0 - new_height) * anchor[1])
    layer = np.zeros((y1 - y0, x1 - x0, 4), np.uint8)
    part = scaled[max(-dy, 0) : y1 - y0 - dy, max(-dx, 0) : x1 - x0 - dx]
    layer[max(dy, 0) : max(dy, 0) + part.shape[0], max(dx, 0) : max(dx, 0) + part.shape[1]] = part
    if harmonise:
        layer = match_surroundings(photo, layer, (x0, y0, x1, y1), strength=harmonise)
    out = photo.copy()
    alpha = layer[..., 3:].astype(np.float32) / 255
    out[y0:y1, x0:x1] = np.rint(layer[..., :3] * alpha + out[y0:y1, x0:x1] * (1 - alpha)).astype(np.uint8)
    return out


def fitted_size(width: int, height: int, box_width: int, box_height: int, *, fit: Fit) -> tuple[int, int]:
    """Width and height in pixels, at least 1, of a cut-out that was fitted to a rectangle; see `paste_cutout`."""
    if fit == "stretch":
        return box_width, box_height
    ratios = (box_width / width, box_height / height)
    if fit == "contain":
        scale = min(ratios)
    elif fit == "cover":
        scale = max(ratios)
    else:
        raise InputError(f"fit: unknown {fit!r}, expected contain, cover or stretch")
    return max(1, round(width * scale)), max(1, round(height * scale))


def match_surroundings(
    photo: np.ndarray, layer: np.ndarray, box_xyxy_px: Sequence[int], *, strength: float = 1.0
) -> np.ndarray:
    """Moves mean and standard deviation of the visible pixels in Lab to those of the photograph around the rectangle.

    Args:
      photo: uint8 [h, w, 3].
      layer: uint8 [y1 - y0, x1 - x0, 4], what will be pasted, straight alpha.
      box_xyxy_px: the rectangle, checked.
      strength: 0 (unchanged) to 1 (moved wholly).

    Returns:
      uint8, shape of `layer`, alpha unchanged.

    Source: Reinhard et al., "Color Transfer between Images", 2001 (statistics in a decorrelated space); here in CIE
      Lab, with the gain bounded (decision 29).
    """
    x0, y0, x1, y1 = box_xyxy_px
    margin = max(1, round(_MARGIN * max(x1 - x0, y1 - y0)))
    top, left = max(0, y0 - margin), max(0, x0 - margin)
    around = photo[top : y1 + margin, left : x1 + margin]
    is_around = np.ones(around.shape[:2], bool)
    is_around[y0 - top : y1 - top, x0 - left : x1 - left] = False
    is_visible = layer[..., 3] > 127
    if not is_around.any() or not is_visible.any():  # the rectangle is the whole photograph, or nothing is opaque
        return layer.copy()
    target = _lab(around)[is_around]  # [m, 3]
    lab = _lab(layer[..., :3])  # [h, w, 3]
    own = lab[is_visible]
    gain = np.clip(target.std(axis=0) / np.maximum(own.std(axis=0), 1e-3), 1 / _MAX_GAIN, _MAX_GAIN)
    moved = (lab - own.mean(axis=0)) * gain + target.mean(axis=0)
    mixed = (lab + strength * (moved - lab)).astype(np.float32)
    rgb = cv2.cvtColor(mixed, cv2.COLOR_LAB2RGB)
    out = layer.copy()
    out[..., :3] = np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)
    return out


def _lab(rgb: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
