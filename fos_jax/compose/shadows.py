"""Soft contact shadows below cut-outs."""

import cv2
import numpy as np

# Working width in pixels: shadows are smooth, so they are made small and enlarged.
_COLUMNS = 192
# The ground may rise by this much per pixel between the points on which an object stands (seen from higher up).
_SLOPE = 0.3
# How far above the ground a part still darkens it, and how thick the shadow is, in shares of the object's size.
_REACH = 0.08
_THICKNESS = 0.03
MARGIN = 0.12  # by which a shadow may leave the object's box at the sides and below, in shares of its longer side


def contact_shadow(alpha: np.ndarray, width: float, height: float) -> np.ndarray:
    """Darkness of the ground around the points on which an object stands.

    Along each column the ground is the upper envelope of the silhouette's lowest points, rising no faster than a floor
    would; it is darkened by what hangs close above it.

    Args:
      alpha: uint8 [h, w], cropped to what is visible.
      width, height: of the object's box in the photograph in pixels; its aspect counts.

    Returns:
      float32 [rows, columns] in 0..1, for the box enlarged by `MARGIN` of its longer side on all sides.

    Source: design decision; a blurred projection of the silhouette, as compositors draw it by hand.
    """
    scale = _COLUMNS / max(width, height)
    columns, rows = max(2, round(width * scale)), max(2, round(height * scale))
    opaque = cv2.resize(alpha, (columns, rows), interpolation=cv2.INTER_AREA) > 127
    pad = round(MARGIN * _COLUMNS)
    shape = (rows + 2 * pad, columns + 2 * pad)
    has_any = opaque.any(axis=0)
    if not has_any.any():
        return np.zeros(shape, np.float32)
    at = np.flatnonzero(has_any)
    low = rows - np.argmax(opaque[::-1, at], axis=0).astype(np.float32)  # [n], below the lowest opaque pixel
    everywhere = np.arange(-pad, columns + pad)
    ground = (low - _SLOPE * np.abs(everywhere[:, None] - at)).max(axis=1)  # [columns + 2 pad]
    weight = np.zeros(columns + 2 * pad, np.float32)
    weight[at + pad] = np.exp(-(ground[at + pad] - low) / (_REACH * _COLUMNS))
    thickness = _THICKNESS * _COLUMNS
    weight = cv2.GaussianBlur(weight[None], (0, 0), thickness)[0]
    distance = (np.arange(-pad, rows + pad)[:, None] + 0.5 - ground) / thickness  # [rows + 2 pad, columns + 2 pad]
    shadow = (weight * np.exp(-0.5 * distance**2)).astype(np.float32)
    # Nothing of it is left at the border of the region.
    fade = np.minimum(1, np.minimum.outer(*(np.minimum(np.arange(n), np.arange(n)[::-1]) / 4 for n in shape)))
    return (shadow * fade).astype(np.float32)
