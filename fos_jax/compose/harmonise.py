"""Moving a cut-out's colours toward those of its surroundings."""

from collections.abc import Sequence

import cv2
import numpy as np

# How far around the rectangle colours are taken from, in fractions of its longer side.
_MARGIN = 0.5
# A spread is never stretched or squeezed by more than this: flat surroundings would wash every object out.
_MAX_GAIN = 1.5


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
      Lab, with the gain bounded (design decision).
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
