"""Clean edges of cut-outs: no colours of the old background, no steps."""

import cv2
import numpy as np

# Kernel sides in pixels over which colours are carried outward; the wide one counts where the narrow finds nothing.
_NARROW, _WIDE = 7, 61
_FAINT = 1e-3
_UNSURE = 1e-6  # weight of what is not the core, for parts too thin to have one
_OPAQUE = 250
_SOFTNESS_PX = 0.5
_NEIGHBOURS, _CROSS = np.ones((3, 3), np.uint8), cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def clean_edges(rgba: np.ndarray, *, continued: tuple[bool, bool, bool, bool] = (False,) * 4) -> np.ndarray:
    """Gives soft edges the foreground's own colours, and softens hard ones by a pixel.

    Soft: the rim shows a mixture of object and old background, which is taken apart. Hard (outlines drawn by people,
    which hold some background): the edge moves inward by half a pixel and becomes soft; the colours stay.

    Args:
      rgba: uint8 [h, w, 4], straight alpha.
      continued: at which sides (left, top, right, bottom) the object goes on beyond the picture; no edge is there.

    Returns:
      uint8, shape of `rgba`; pixels that are opaque and have only opaque neighbours are the same.

    Source: Forte & Pitié, "Approximate fast foreground colour estimation", 2021 (blur fusion: C = alpha F +
      (1 - alpha) B solved about blurred estimates of F and B); constants by benchmarks/composites.py.
    """
    left, top, right, bottom = (int(not side) for side in continued)
    height, width = rgba.shape[:2]
    alpha = cv2.copyMakeBorder(rgba[..., 3], top, bottom, left, right, cv2.BORDER_CONSTANT, value=0)
    inside = np.s_[top : top + height, left : left + width]
    opaque = (alpha >= _OPAQUE).view(np.uint8)
    core = cv2.erode(opaque, _NEIGHBOURS, borderValue=1)
    out = rgba.copy()
    if _is_hard(alpha, opaque, core):
        drawn_in = cv2.addWeighted(alpha, 0.5, cv2.erode(alpha, _CROSS, borderValue=255), 0.5, 0)
        softened = cv2.GaussianBlur(drawn_in, (3, 3), _SOFTNESS_PX, borderType=cv2.BORDER_REPLICATE)
        out[..., 3] = np.minimum(softened[inside], rgba[..., 3])
        return out
    is_rim = (core[inside] == 0) & (rgba[..., 3] > 0)
    colour = rgba[..., :3].astype(np.float32)
    share = rgba[..., 3].astype(np.float32) * np.float32(1 / 255)
    own = _carried(colour, core[inside] + np.float32(_UNSURE) * share)[is_rim]
    old = _carried(colour, (1 - share) * (share > 0))[is_rim]
    seen, part = colour[is_rim], share[is_rim, None]
    out[is_rim, :3] = np.rint(np.clip(own + part * (seen - part * own - (1 - part) * old), 0, 255))
    return out


def _is_hard(alpha: np.ndarray, opaque: np.ndarray, core: np.ndarray) -> bool:
    """Whether steps from nothing to opaque make up most of the outline."""
    soft = np.count_nonzero((alpha > 5) & (alpha < _OPAQUE))
    return bool(soft < (np.count_nonzero(opaque) - np.count_nonzero(core)) / 2)


def _carried(colour: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Mean colours around every pixel, weighted by float32 [h, w]: float32 [h, w, 3]."""
    weighted = cv2.merge([*(plane * weight for plane in cv2.split(colour)), weight])  # [h, w, 4]
    near = cv2.blur(weighted, (_NARROW, _NARROW), borderType=cv2.BORDER_REPLICATE)
    far = cv2.blur(weighted, (_WIDE, _WIDE), borderType=cv2.BORDER_REPLICATE)
    *planes, total = cv2.split(cv2.scaleAdd(far, _FAINT, near))
    return cv2.merge([plane / np.maximum(total, 1e-12) for plane in planes])
