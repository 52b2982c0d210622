"""Composites: cut-outs laid over a photograph, with clean edges, the surroundings' colours and contact shadows."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import cv2
import numpy as np

from fos_jax.boxes import BoxXyxyPx
from fos_jax.compose.colours import blend_poisson, match_surroundings
from fos_jax.compose.edges import clean_edges
from fos_jax.compose.placement import placement
from fos_jax.compose.shadows import MARGIN, contact_shadow
from fos_jax.errors import InputError
from fos_jax.images import resize_rgb, resize_rgba, visible_box_xyxy_px

Blend = Literal["none", "poisson"]
# Floats are made for one tile at a time; OpenCV warps no picture with a side of 32,768 px or more.
_TILE_ROWS, _TILE_COLUMNS = 256, 8192
_POISSON_SIDE_PX = 384


@dataclasses.dataclass(frozen=True)
class Layer:
    """One cut-out and where it goes.

    Attributes:
      cutout: uint8 [h, w, 4], straight alpha, as it is stored; transparent margins do not count.
      box_xyxy_px: where its visible part goes, x0, y0, x1, y1 in pixels of the photograph; may leave the photograph and
        be fractional (it is drawn at the nearest whole pixels). See `placement.placement`.
      mirrored: flip it left to right first.
      harmonise: 0 leaves the colours, 1 moves them as far as `colours.match_surroundings` goes.
      shadow: strength of a soft contact shadow on the ground below it, 0 (none) to 1.
      blend: "poisson" lets its colours go over into the photograph's at its edge (`colours.blend_poisson`).
      clean_edges: remove colours of its old background at its edge (`edges.clean_edges`).
    """

    cutout: np.ndarray
    box_xyxy_px: Sequence[float]
    mirrored: bool = False
    harmonise: float = 0.0
    shadow: float = 0.0
    blend: Blend = "none"
    clean_edges: bool = True


class _Sheet(NamedTuple):
    """Pixels to be stretched over a box: float32 [h, w, 4] premultiplied, 0..255 and alpha 0..1; [h, w] is shade.

    Arithmetic is on planes: NumPy is several times slower where it repeats one alpha for three interleaved colours.
    """

    pixels: np.ndarray
    box: BoxXyxyPx


def compose_layers(photo: np.ndarray, layers: Sequence[Layer]) -> np.ndarray:
    """The photograph with the layers on it.

    Args:
      photo: uint8 [h, w, 3].
      layers: from the bottom to the top.

    Returns:
      uint8 [h, w, 3], a new array; outside `edit_box` it is the photograph bit for bit.

    Raises:
      InputError: an option out of its range, a box that is none, or nothing of a cut-out is visible; the layer is named
        by its place.

    Source: decision 29.
    """
    photo = np.ascontiguousarray(photo)
    out = photo.copy()
    for (x0, y0, x1, y1), over in _painted(photo, _sheets(photo, layers)):
        out[y0:y1, x0:x1] = _laid(over, photo[y0:y1, x0:x1])
    return out


def layer_rgba(photo: np.ndarray, layers: Sequence[Layer]) -> np.ndarray:
    """The edit of `compose_layers` alone, at the photograph's size; arguments and errors are the same.

    Returns:
      uint8 [h, w, 4], straight alpha, 0 outside `edit_box`; laid over the photograph it gives the composite within one
      level.
    """
    photo = np.ascontiguousarray(photo)
    out = np.zeros((*photo.shape[:2], 4), np.uint8)
    for (x0, y0, x1, y1), (*colours, exact) in _painted(photo, _sheets(photo, layers)):
        # Alpha is rounded up, and colours take on as much of the photograph as that hides too much of it.
        alpha = np.ceil(np.minimum(exact, 1) * 255 - 1e-3)
        surplus, divisor = np.maximum(alpha / 255 - exact, 0), np.maximum(alpha, 1) / 255
        below = cv2.split(photo[y0:y1, x0:x1])
        planes = [(colour + surplus * under) / divisor for colour, under in zip(colours, below, strict=True)]
        out[y0:y1, x0:x1] = cv2.convertScaleAbs(cv2.merge([*planes, alpha]))
        out[y0:y1, x0:x1][alpha == 0] = 0
    return out


def edit_box(layers: Sequence[Layer], width: int, height: int) -> BoxXyxyPx | None:
    """The rectangle of a photograph of width x height pixels outside of which the layers change nothing.

    None where all of them lie outside the photograph. Errors as `compose_layers`.
    """
    boxes = []
    for place, layer in enumerate(layers):
        box = _check(layer, place)
        boxes.append(box)
        if layer.shadow:
            boxes.append(_shadow_box(box))
    return _union(boxes, width, height)


def paste_cutout(
    photo: np.ndarray,
    cutout: np.ndarray,
    box_xyxy_px: Sequence[float],
    *,
    truncated: Sequence[str] | None = None,
    harmonise: float = 0.0,
    shadow: float = 0.0,
    blend: Blend = "none",
) -> np.ndarray:
    """The photograph with the cut-out standing in its rectangle: `placement.placement`, then `compose_layers`.

    Args:
      photo: uint8 [h, w, 3].
      cutout: uint8 [h', w', 4], straight alpha, as it is shown.
      box_xyxy_px: the rectangle, whole pixels inside the photograph.
      truncated: see `placement.placement`.
      harmonise, shadow, blend: see `Layer`.

    Returns:
      uint8 [h, w, 3], a new array.

    Raises:
      InputError: as those two.
    """
    box = placement(cutout, box_xyxy_px, photo.shape[1], photo.shape[0], truncated=truncated)
    return compose_layers(photo, [Layer(cutout, box, harmonise=harmonise, shadow=shadow, blend=blend)])


def _check(layer: Layer, place: int) -> BoxXyxyPx:
    """The box in whole pixels."""
    where = f"layers[{place}]"
    cutout = layer.cutout
    if cutout.dtype != np.uint8 or cutout.ndim != 3 or cutout.shape[2] != 4:
        raise InputError(f"{where}.cutout: got {cutout.dtype} {list(cutout.shape)}, expected uint8 [h, w, 4]")
    for name in ("harmonise", "shadow"):
        value = getattr(layer, name)
        if not 0 <= value <= 1:
            raise InputError(f"{where}.{name}: got {value!r}, expected 0 to 1")
    if layer.blend not in ("none", "poisson"):
        raise InputError(f"{where}.blend: unknown {layer.blend!r}, expected none or poisson")
    try:
        x0, y0, x1, y1 = (float(value) for value in layer.box_xyxy_px)
    except (TypeError, ValueError):
        raise InputError(f"{where}.box: got {layer.box_xyxy_px!r}, expected four numbers") from None
    if not all(math.isfinite(value) and abs(value) < 1e6 for value in (x0, y0, x1, y1)) or x1 <= x0 or y1 <= y0:
        text = ", ".join(f"{value:g}" for value in (x0, y0, x1, y1))
        raise InputError(f"{where}.box: got ({text}), expected x0 < x1 and y0 < y1, finite and below a million")
    left, top = round(x0), round(y0)
    return left, top, max(round(x1), left + 1), max(round(y1), top + 1)


def _shadow_box(box: BoxXyxyPx) -> BoxXyxyPx:
    x0, y0, x1, y1 = box
    margin = math.ceil(MARGIN * max(x1 - x0, y1 - y0))
    return x0 - margin, y0 - margin, x1 + margin, y1 + margin


def _sheets(photo: np.ndarray, layers: Sequence[Layer]) -> list[_Sheet]:
    sheets: list[_Sheet] = []
    height, width = photo.shape[:2]
    for place, layer in enumerate(layers):
        box = _check(layer, place)
        left, top, right, bottom = visible_box_xyxy_px(layer.cutout, where=f"layers[{place}].cutout")
        rgba = layer.cutout[top:bottom, left:right]
        rgba = rgba[:, ::-1] if layer.mirrored else rgba
        x0, y0, x1, y1 = box
        if layer.shadow:
            shade = contact_shadow(np.ascontiguousarray(rgba[..., 3]), x1 - x0, y1 - y0)
            sheets.append(_Sheet(layer.shadow * shade, _shadow_box(box)))
        if _intersection(box, (0, 0, width, height)) is None:
            continue
        # All work is done on the cut-out's own pixels, or on fewer.
        rgba = resize_rgba(rgba, min(rgba.shape[1], x1 - x0), min(rgba.shape[0], y1 - y0))
        if layer.clean_edges:
            beyond = (x0 <= 0, y0 <= 0, x1 >= width, y1 >= height)
            rgba = clean_edges(rgba, continued=beyond)
        if layer.harmonise:
            rgba = match_surroundings(photo, rgba, box, strength=layer.harmonise)
        if layer.blend == "poisson":
            rgba = _blend(photo, sheets, rgba, box)
        *colours, alpha = cv2.split(rgba)
        alpha = alpha.astype(np.float32) * np.float32(1 / 255)
        sheets.append(_Sheet(cv2.merge([*(colour * alpha for colour in colours), alpha]), box))
    return sheets


def _blend(photo: np.ndarray, below: Sequence[_Sheet], rgba: np.ndarray, box: BoxXyxyPx) -> np.ndarray:
    """The cut-out with colours that go over into those below it; `box` meets the photograph.

    What Poisson blending adds is smooth, so it is solved small, on the part inside the photograph.
    """
    height, width = photo.shape[:2]
    x0, y0, x1, y1 = _intersection(box, (0, 0, width, height)) or box
    under = photo[y0:y1, x0:x1].copy()
    for window, over in _painted(photo, below, within=(x0, y0, x1, y1)):
        place = under[window[1] - y0 : window[3] - y0, window[0] - x0 : window[2] - x0]
        place[...] = _laid(over, place)
    scale = min(1, _POISSON_SIDE_PX / max(x1 - x0, y1 - y0))
    size = (max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale)))
    rows = slice(*_share(rgba.shape[0], y0, y1, box[1], box[3]))
    columns = slice(*_share(rgba.shape[1], x0, x1, box[0], box[2]))
    part = np.ascontiguousarray(rgba[rows, columns])
    edges = (x0 == 0, y0 == 0, x1 == width, y1 == height)
    added = blend_poisson(resize_rgb(under, *size), resize_rgba(part, *size), edges=edges)
    out = rgba.copy()
    added = cv2.resize(added, part.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    out[rows, columns, :3] = np.rint(np.clip(part[..., :3] + added, 0, 255))
    return out


def _share(pixels: int, start: int, stop: int, low: int, high: int) -> tuple[int, int]:
    """start..stop of low..high as an interval of 0..pixels, at least one pixel."""
    first = min(int((start - low) * pixels / (high - low)), pixels - 1)
    return first, max(math.ceil((stop - low) * pixels / (high - low)), first + 1)


def _intersection(a: BoxXyxyPx, b: BoxXyxyPx) -> BoxXyxyPx | None:
    x0, y0, x1, y1 = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _union(boxes: Sequence[BoxXyxyPx], width: int, height: int) -> BoxXyxyPx | None:
    inside = [part for box in boxes if (part := _intersection(box, (0, 0, width, height)))]
    if not inside:
        return None
    x0, y0, x1, y1 = zip(*inside, strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def _painted(
    photo: np.ndarray, sheets: Sequence[_Sheet], within: BoxXyxyPx | None = None
) -> Iterator[tuple[BoxXyxyPx, np.ndarray]]:
    """The sheets laid over each other, tile by tile: window, and planes as of `_over`."""
    box = _union([sheet.box for sheet in sheets], photo.shape[1], photo.shape[0])
    box = _intersection(box, within) if box and within else box
    if box is None:
        return
    for top in range(box[1], box[3], _TILE_ROWS):
        for left in range(box[0], box[2], _TILE_COLUMNS):
            window = (left, top, min(left + _TILE_COLUMNS, box[2]), min(top + _TILE_ROWS, box[3]))
            yield window, _over(sheets, window)


def _over(sheets: Sequence[_Sheet], window: BoxXyxyPx) -> np.ndarray:
    """float32 [4, h, w]: premultiplied colours and alpha."""
    out = np.zeros((4, window[3] - window[1], window[2] - window[0]), np.float32)
    for sheet in sheets:
        part = _intersection(sheet.box, window)
        if part is None:
            continue
        pixels = _stretched(sheet, part)
        place = out[:, part[1] - window[1] : part[3] - window[1], part[0] - window[0] : part[2] - window[0]]
        planes = [pixels] if pixels.ndim == 2 else cv2.split(pixels)
        place *= 1 - planes[-1]
        for below, plane in zip(place[-len(planes) :], planes, strict=True):
            below += plane
    return out


def _laid(over: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """uint8 [h, w, 3]: planes as of `_over` over a part of the photograph."""
    rest = 1 - over[3]
    below = cv2.split(photo)
    return cv2.convertScaleAbs(cv2.merge([colour + rest * under for colour, under in zip(over, below, strict=False)]))


def _stretched(sheet: _Sheet, part: BoxXyxyPx) -> np.ndarray:
    """A part of the sheet's box, whole pixels of the photograph."""
    x0, y0, x1, y1 = sheet.box
    height, width = sheet.pixels.shape[:2]
    if (width, height) == (x1 - x0, y1 - y0):
        return sheet.pixels[part[1] - y0 : part[3] - y0, part[0] - x0 : part[2] - x0]
    scale_x, scale_y = width / (x1 - x0), height / (y1 - y0)
    # Only the pixels that are needed, and two around them.
    left, right = max(int((part[0] - x0) * scale_x) - 2, 0), min(math.ceil((part[2] - x0) * scale_x) + 2, width)
    top, bottom = max(int((part[1] - y0) * scale_y) - 2, 0), min(math.ceil((part[3] - y0) * scale_y) + 2, height)
    matrix = np.array(
        [
            [scale_x, 0, (part[0] - x0 + 0.5) * scale_x - 0.5 - left],
            [0, scale_y, (part[1] - y0 + 0.5) * scale_y - 0.5 - top],
        ]
    )
    return cv2.warpAffine(
        sheet.pixels[top:bottom, left:right],
        matrix,
        (part[2] - part[0], part[3] - part[1]),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
