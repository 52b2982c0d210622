"""Inputs of the experts: pictures for the frozen backbone, and numbers of shape and tone that it does not keep."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from fos_jax.boxes import SIDES, check_box_xyxy_px, touched_sides
from fos_jax.images import MEAN_COLOUR, prepare_cutout, resize_rgb

CONTEXT = 2.0  # side of the window around a rectangle, in lengths of its longer side
_SILHOUETTE = 8  # cells per side of a cut-out's silhouette, stretched to its bounding box
_READING_PX = 128  # longer side at which tone is read, so that it means the same for large and small objects
_VISIBLE = 128
_ERODED = 0.02  # of the longer side: edges of masks carry pixels of the photograph around the object

NUM_RECTANGLE, NUM_SILHOUETTE, NUM_TONE = 13, 7 + _SILHOUETTE**2, 10


class Row(NamedTuple):
    """One cut-out or one query as the experts take it.

    Attributes:
      image: uint8 [S, S, 4] of a cut-out (matted on the mean colour), [S, S, 3] of a query (rectangle filled).
      shape: float32 [NUM_SILHOUETTE] or [NUM_RECTANGLE], numbers of about unit size.
      tone: float32 [NUM_TONE], of the cut-out's inside or of the rectangle's surroundings.
    """

    image: np.ndarray
    shape: np.ndarray
    tone: np.ndarray


def cutout_row(rgba: np.ndarray, truncated: Sequence[str] | None, size: int, *, erode: bool = True) -> Row:
    """Inputs of a cut-out.

    Args:
      rgba: uint8 [h, w, 4], straight alpha, cropped to what is visible.
      truncated: sides at which its photograph cut it, of `SIDES`; None where that is unknown.
      size: side of the picture in pixels.
      erode: take a rim off the mask for the picture and the tone: it carries pixels of the photograph around the
        object, which would give its place away in training and means nothing in use.
    """
    inner = _inner(rgba[..., 3]) if erode else rgba[..., 3] >= _VISIBLE
    solid = np.dstack([rgba[..., :3], np.where(inner, rgba[..., 3], 0)])
    return Row(prepare_cutout(solid, size), silhouette_numbers(rgba, truncated), _tone(rgba[..., :3], inner))


def query_row(photo: np.ndarray, box_xyxy_px: Sequence[float], size: int) -> Row:
    """Inputs of a query: nothing inside the rectangle takes part.

    Args:
      photo: uint8 [h, w, 3]. box_xyxy_px: the rectangle. size: side of the picture in pixels.

    Raises:
      InputError: the rectangle is not one, or leaves the photograph.
    """
    height, width = photo.shape[:2]
    box = check_box_xyxy_px(box_xyxy_px, width, height)
    left, top, side = query_window(box)
    window, known = _window(photo, left, top, side)
    x0, y0, x1, y1 = box
    inside = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
    window[inside], known[inside] = MEAN_COLOUR, False
    return Row(resize_rgb(window, size, size), rectangle_numbers(box, width, height), _tone(window, known))


def query_window(box_xyxy_px: Sequence[int]) -> tuple[int, int, int]:
    """The square window around a rectangle that a query's picture shows: left, top and side in pixels.

    It may leave the photograph; what lies outside is filled with the mean colour.
    """
    x0, y0, x1, y1 = (int(v) for v in box_xyxy_px)
    side = math.ceil(CONTEXT * max(x1 - x0, y1 - y0))
    return (x0 + x1 - side) // 2, (y0 + y1 - side) // 2, side


def rectangle_numbers(box_xyxy_px: Sequence[int], width: int, height: int) -> np.ndarray:
    """A rectangle by its aspect, size, place and the borders that it touches: float32 [NUM_RECTANGLE]."""
    x0, y0, x1, y1 = box_xyxy_px
    w, h = (x1 - x0) / width, (y1 - y0) / height
    aspect = math.log((x1 - x0) / (y1 - y0))
    touches = touched_sides(box_xyxy_px, width, height)
    numbers = [aspect, aspect**2, math.log(w), math.log(h), 0.5 * math.log(w * h), math.log(width / height)]
    numbers += [(x0 + x1) / width - 1, 2 * y0 / height - 1, 2 * y1 / height - 1, *(side in touches for side in SIDES)]
    return np.array(numbers, np.float32)


def silhouette_numbers(rgba: np.ndarray, truncated: Sequence[str] | None) -> np.ndarray:
    """A cut-out by its aspect, truncation and silhouette: float32 [NUM_SILHOUETTE]; see `cutout_row`."""
    height, width = rgba.shape[:2]
    aspect = math.log(width / height)
    cut = [float(truncated is not None and side in truncated) for side in SIDES]
    alpha = rgba[..., 3].astype(np.float32) / 255
    cells = cv2.resize(alpha, (_SILHOUETTE, _SILHOUETTE), interpolation=cv2.INTER_AREA)
    return np.array([aspect, aspect**2, truncated is None, *cut, *(2 * cells.ravel() - 1)], np.float32)


def _inner(alpha: np.ndarray) -> np.ndarray:
    """bool [h, w]: what is visible without its rim; all of it where nothing else would be left."""
    mask = (alpha >= _VISIBLE).astype(np.uint8)
    reach = max(1, round(_ERODED * max(mask.shape)))
    framed = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_REPLICATE)  # a photograph's border is no rim
    inner = cv2.erode(framed, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))[1:-1, 1:-1].astype(bool)
    return inner if inner.sum() >= 0.25 * mask.sum() else alpha >= min(_VISIBLE, int(alpha.max()))


def _tone(rgb: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Light, colour and fine detail where `known` (bool [h, w]), float32 [NUM_TONE]; zeros where nothing is known."""
    scale = min(1.0, _READING_PX / max(rgb.shape[:2]))
    size = tuple(max(1, round(scale * length)) for length in rgb.shape[1::-1])
    small = cv2.resize(np.ascontiguousarray(rgb), size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    where = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.99
    if not where.any():
        return np.zeros(NUM_TONE, np.float32)
    lab: np.ndarray = cv2.cvtColor(small, cv2.COLOR_RGB2LAB) / np.array([50, 25, 25], np.float32)
    lab[..., 0] -= 1
    chosen = lab[where]  # [n, 3]
    low, high = np.quantile(chosen[:, 0], (0.05, 0.95))
    fine = np.abs(cv2.Laplacian(np.asarray(lab[..., 0], np.float32), cv2.CV_32F))
    solid = cv2.erode(where.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    detail = [float(np.log(values.mean() + 1e-3)) for values in ((fine[solid] if solid.any() else fine[where]),)]
    saturation = np.hypot(chosen[:, 1], chosen[:, 2])
    numbers = [*chosen.mean(0), *chosen.std(0), low, high, saturation.mean(), detail[0] / 3 + 1]
    return np.array(numbers, np.float32)


def geometry_of_rectangle(shape: np.ndarray) -> np.ndarray:
    """float32 [n, R]: numbers of rectangles [n, NUM_RECTANGLE] and their products, which linear maps cannot form."""
    return _with_products(np.asarray(shape, np.float32), NUM_RECTANGLE)


def geometry_of_silhouette(shape: np.ndarray) -> np.ndarray:
    """float32 [n, R]: numbers of cut-outs [n, NUM_SILHOUETTE], with the products of aspect and truncation."""
    return _with_products(np.asarray(shape, np.float32), NUM_SILHOUETTE - _SILHOUETTE**2)


def _with_products(numbers: np.ndarray, count: int) -> np.ndarray:
    i, j = np.triu_indices(count)
    return np.concatenate([numbers[:, :count], numbers[:, i] * numbers[:, j], numbers[:, count:]], axis=1)


def _window(photo: np.ndarray, left: int, top: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A window of a photograph, uint8 [side, side, 3], and where it shows the photograph, bool [side, side]."""
    window = np.empty((side, side, 3), np.uint8)
    window[:] = MEAN_COLOUR
    known = np.zeros((side, side), bool)
    part = photo[max(top, 0) : top + side, max(left, 0) : left + side]
    place = np.s_[max(-top, 0) : max(-top, 0) + part.shape[0], max(-left, 0) : max(-left, 0) + part.shape[1]]
    window[place], known[place] = part, True
    return window, known
