"""Clean edges of cut-outs: no colours of the old background, no steps."""

import cv2
import numpy as np

# Kernel sides in pixels over which colours are carried outward; the wide one counts where the narrow finds nothing.
_NARROW, _WIDE = 7, 61
_FAINT = 1e-3
_OPAQUE = 250


def clean_edges(rgba: np.ndarray, *, continued: tuple[bool, bool, bool, bool] = (False,) * 4) -> np.ndarray:
    """Replaces the colours of the rim by the foreground's own, and softens hard edges by a pixel.

    Args:
      rgba: uint8 [h, w, 4], straight alpha; pixels of the rim may show a mixture of object and old background.
      continued: at which sides (left, top, right, bottom) the object goes on beyond the picture; no edge is there.

    Returns:
      uint8, shape of `rgba`; pixels that are opaque and have only opaque neighbours are the same.

    Source: Forte & Pitié, "Approximate fast foreground colour estimation", 2021 (blur fusion:
      C = alpha F + (1 - alpha) B solved about blurred estimates of F and B).
    """
    pads = [int(not side) for side in continued]
    left, top, right, bottom = pads
    height, width = rgba.shape[:2]
    alpha = cv2.copyMakeBorder(rgba[..., 3], top, bottom, left, right, cv2.BORDER_CONSTANT, value=0)
    core = cv2.erode(np.uint8(alpha >= _OPAQUE), np.ones((3, 3), np.uint8), borderValue=1)
    is_hard = _is_hard(alpha)
    inside = np.s_[top : top + height, left : left + width]
    if is_hard:
        alpha = cv2.blur(alpha, (3, 3), borderType=cv2.BORDER_REPLICATE)
    alpha, core = alpha[inside], core[inside]
    is_rim = (core == 0) & (alpha > 0)
    colour = rgba[..., :3].astype(np.float32)
    share = rgba[..., 3:].astype(np.float32) / 255
    own = _carried(colour, core[..., None] + _FAINT * share)
    estimate = own
    if not is_hard:
        old = _carried(colour, (1 - share) * (share > 0))
        estimate = own + share * (colour - share * own - (1 - share) * old)
    out = rgba.copy()
    out[..., 3] = alpha
    out[is_rim, :3] = np.rint(np.clip(estimate[is_rim], 0, 255))
    return out


def _is_hard(alpha: np.ndarray) -> bool:
    """Whether steps from nothing to opaque make up most of the outline."""
    soft = np.count_nonzero((alpha > 5) & (alpha < _OPAQUE))
    opaque = np.uint8(alpha >= _OPAQUE)
    outline = np.count_nonzero(opaque) - np.count_nonzero(cv2.erode(opaque, np.ones((3, 3), np.uint8), borderValue=1))
    return soft < outline / 2


def _carried(colour: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Mean colours around every pixel, weighted: float32 [h, w, 3]."""
    weighted = np.concatenate([colour * weight, weight], axis=-1).astype(np.float32)
    near = cv2.blur(weighted, (_NARROW, _NARROW), borderType=cv2.BORDER_REPLICATE)
    far = cv2.blur(weighted, (_WIDE, _WIDE), borderType=cv2.BORDER_REPLICATE)
    total = near + _FAINT * far
    return total[..., :3] / np.maximum(total[..., 3:], 1e-12)
