"""Images from files, bytes and arrays, and the two forms in which models see them.

Photographs and cut-outs of any size, mode and orientation come in; uint8 arrays in RGB order go out. Whatever cannot
be used raises a one-line `InputError` that names the file.
"""

import errno
import io
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import cv2
import numpy as np
from PIL import Image, ImageOps

from fos_jax.boxes import box_xyxy_px_to_yxyx_norm, check_box_xyxy_px
from fos_jax.errors import InputError

MEAN_COLOUR = (128, 128, 128)  # uint8 RGB; fills and mats. Source: FOSD fills its rectangles with grey 128
MAX_PIXELS = 100_000_000

ImageSource = str | os.PathLike | bytes | Image.Image | np.ndarray

# Named, so that formats whose readers start other programs (EPS) never run on untrusted input.
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF")
# Below this an edge pixel cannot be seen, but compression noise there would spoil the bounding box.
_VISIBLE_ALPHA = 8


def read_image(source: ImageSource, *, max_pixels: int = MAX_PIXELS, where: str | None = None) -> np.ndarray:
    """Reads a photograph as RGB.

    Any mode is converted (grey, palette, CMYK, 16 bits scaled to 8), the EXIF orientation is applied, transparency is
    matted on `MEAN_COLOUR`, and of an animation the first frame is taken.

    Args:
      source: path, encoded bytes, PIL image, or uint8 array [h, w], [h, w, 3] or [h, w, 4].
      max_pixels: larger images are refused before they are decoded.
      where: what messages call the image; its path by default.

    Returns:
      uint8 [h, w, 3].

    Raises:
      InputError: cannot be read or decoded, no pixels, too many pixels, or pixels of no known scale.
    """
    pixels, has_alpha = _read(source, max_pixels, where)
    return matte(pixels) if has_alpha else pixels


def read_cutout(
    source: ImageSource, *, max_pixels: int = MAX_PIXELS, allow_opaque: bool = False, where: str | None = None
) -> np.ndarray:
    """Reads a cut-out with its transparency; arguments and errors as `read_image`.

    Args:
      allow_opaque: accept an image without an alpha channel as wholly opaque.

    Returns:
      uint8 [h, w, 4], straight (not premultiplied) RGBA.

    Raises:
      InputError: also where there is no alpha channel, or nothing is visible.
    """
    pixels, has_alpha = _read(source, max_pixels, where)
    name = where or _name(source)
    if not has_alpha:
        if not allow_opaque:
            raise InputError(f"{name}: has no alpha channel, expected a cut-out with transparency")
        pixels = np.concatenate([pixels, np.full_like(pixels[..., :1], 255)], axis=-1)
    if pixels[..., 3].max() < _VISIBLE_ALPHA:
        raise InputError(f"{name}: the cut-out is wholly transparent, expected a visible object")
    return pixels


def read_pixels(source: ImageSource, *, max_pixels: int = MAX_PIXELS, where: str | None = None) -> np.ndarray:
    """Reads a photograph or a cut-out: uint8 [h, w, 3], [h, w, 4] where it has transparency; else as `read_image`."""
    return _read(source, max_pixels, where)[0]


def read_index_image(path: str | os.PathLike, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Reads a PNG whose pixels are numbers (of objects or classes), as palette or grey values: uint8 [h, w].

    Raises:
      InputError: cannot be read or decoded, too many pixels, or a picture in colours.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=["PNG"]) as image:
                if image.width * image.height > max_pixels:
                    raise InputError(
                        f"{path}: {image.width} x {image.height} px, expected at most {max_pixels:,} pixels"
                    )
                if image.mode not in ("P", "L"):
                    raise InputError(f"{path}: mode {image.mode}, expected a PNG with a palette or in grey")
                return np.array(image)
    except InputError:
        raise
    except Exception as error:  # decoders raise nearly every type on damaged data
        _refuse(error, str(path), max_pixels)


def encode_png(pixels: np.ndarray, *, compress_level: int = 1) -> bytes:
    """PNG bytes of uint8 [h, w, 3] (RGB) or [h, w, 4] (RGBA); level 1 costs little size and a fifth of the time."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=compress_level)
    return buffer.getvalue()


def matte(rgba: np.ndarray) -> np.ndarray:
    """Blends straight RGBA uint8 [h, w, 4] onto `MEAN_COLOUR`: uint8 [h, w, 3]."""
    alpha = rgba[..., 3:].astype(np.float32) / 255
    mean = np.array(MEAN_COLOUR, np.float32)
    return np.rint(rgba[..., :3] * alpha + mean * (1 - alpha)).astype(np.uint8)


def resize_rgb(rgb: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resizes uint8 or float32 [h, w, channels]: area average where it shrinks, bilinear where it grows."""
    is_smaller = width < rgb.shape[1] or height < rgb.shape[0]
    return cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA if is_smaller else cv2.INTER_LINEAR)


def resize_rgba(rgba: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resizes straight RGBA uint8 through premultiplied colours, so that hidden colours never bleed into the edge."""
    if rgba.shape[:2] == (height, width):
        return rgba.copy()
    alpha = rgba[..., 3:].astype(np.float32) / 255
    premultiplied = np.concatenate([rgba[..., :3] * alpha, alpha], axis=-1)  # [h, w, 4]
    small = resize_rgb(premultiplied, width, height)
    alpha = small[..., 3:]
    colour = np.divide(small[..., :3], alpha, out=np.zeros_like(small[..., :3]), where=alpha > 1e-6)
    return np.rint(np.clip(np.concatenate([colour, alpha * 255], axis=-1), 0, 255)).astype(np.uint8)


def visible_box_xyxy_px(rgba: np.ndarray, *, where: str = "cut-out") -> tuple[int, int, int, int]:
    """The tightest half-open rectangle around the visible pixels of uint8 [h, w, 4]; `InputError` where none is."""
    is_visible = rgba[..., 3] >= _VISIBLE_ALPHA
    rows, columns = np.flatnonzero(is_visible.any(axis=1)), np.flatnonzero(is_visible.any(axis=0))
    if not rows.size:
        raise InputError(f"{where}: the cut-out is wholly transparent, expected a visible object")
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def prepare_cutout(rgba: np.ndarray, size: int) -> np.ndarray:
    """A cut-out as models see it: cropped to what is visible, centred in a square, matted on `MEAN_COLOUR`.

    Args:
      rgba: uint8 [h, w, 4], straight alpha.
      size: side of the result in pixels.

    Returns:
      uint8 [size, size, 4]: RGB matted, alpha kept. A prepared cut-out comes out as it went in, but for soft edges.

    Raises:
      InputError: nothing is visible.
    """
    x0, y0, x1, y1 = visible_box_xyxy_px(rgba)
    scale = size / max(x1 - x0, y1 - y0)
    width, height = (max(1, round(length * scale)) for length in (x1 - x0, y1 - y0))
    left, top = (size - width) // 2, (size - height) // 2
    out = np.zeros((size, size, 4), np.uint8)
    out[top : top + height, left : left + width] = resize_rgba(rgba[y0:y1, x0:x1], width, height)
    out[..., :3] = matte(out)
    return out


def prepare_query(
    rgb: np.ndarray, box_xyxy_px: Sequence[float], size: int, *, where: str = "box"
) -> tuple[np.ndarray, np.ndarray]:
    """A photograph and its rectangle as models see them: the largest square window that holds the rectangle.

    The rectangle lies as central in the window as the frame allows; `MEAN_COLOUR` pads only where the rectangle is
    longer than the photograph's short side. The rectangle is not filled here (the models' input step does).

    Args:
      rgb: uint8 [h, w, 3].
      box_xyxy_px: rectangle in the photograph.
      size: side of the result in pixels.

    Returns:
      uint8 [size, size, 3] and float32 [4], the rectangle in fractions (y0, x0, y1, x1) of the window.

    Raises:
      InputError: the rectangle is not one, or leaves the photograph.
    """
    height, width = rgb.shape[:2]
    x0, y0, x1, y1 = box = check_box_xyxy_px(box_xyxy_px, width, height, where=where)
    left, top, side = query_window(box, width, height)
    inside = rgb[max(top, 0) : top + side, max(left, 0) : left + side]
    if inside.shape[:2] == (side, side):
        window = inside
    else:
        window = np.empty((side, side, 3), np.uint8)
        window[:] = MEAN_COLOUR
        window[max(-top, 0) :, max(-left, 0) :][: inside.shape[0], : inside.shape[1]] = inside
    box_in_window = (x0 - left, y0 - top, x1 - left, y1 - top)
    return resize_rgb(window, size, size), box_xyxy_px_to_yxyx_norm(box_in_window, side, side)


def query_window(box_xyxy_px: Sequence[int], width: int, height: int) -> tuple[int, int, int]:
    """Left, top and side in pixels of the window of a width x height photograph that `prepare_query` takes."""
    x0, y0, x1, y1 = box_xyxy_px
    side = max(min(width, height), x1 - x0, y1 - y0)
    return _window_start(x0, x1, width, side), _window_start(y0, y1, height, side), side


def _window_start(start: int, stop: int, length: int, side: int) -> int:
    """First pixel of a window of `side` around [start, stop) in [0, length); negative where the frame is too short."""
    if length <= side:
        return -((side - length) // 2)
    return min(max((start + stop - side) // 2, 0), length - side)


def _name(source: ImageSource) -> str:
    if isinstance(source, str | os.PathLike):
        return str(source)
    if isinstance(source, bytes):
        return f"image of {len(source)} bytes"
    if isinstance(source, Image.Image):
        return str(getattr(source, "filename", "") or "image")
    return "image"


def _read(source: ImageSource, max_pixels: int, where: str | None) -> tuple[np.ndarray, bool]:
    """uint8 [h, w, 3 or 4] and whether there is an alpha channel."""
    name = where or _name(source)
    if isinstance(source, np.ndarray):
        return _from_array(source, name)
    if isinstance(source, Image.Image):
        return _from_pil(source, max_pixels, name)
    if isinstance(source, bytes):
        opened: Any = io.BytesIO(source)
    elif isinstance(source, str | os.PathLike):
        opened = Path(source)
    else:
        raise InputError(f"{name}: got a {type(source).__name__}, expected a path, bytes, a PIL image or an array")
    Image.init()
    formats = [name for name in _FORMATS if name in Image.OPEN]
    try:
        with warnings.catch_warnings():
            # The size is judged below, by the limit that the caller set.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)  # damaged EXIF or TIFF tags: what matters fails in decoding
            with Image.open(opened, formats=formats) as image:
                return _from_pil(image, max_pixels, name)
    except InputError:
        raise
    except Exception as error:  # decoders raise nearly every type on damaged data
        _refuse(error, name, max_pixels)


def _refuse(error: Exception, name: str, max_pixels: int) -> NoReturn:
    if isinstance(error, Image.DecompressionBombError):
        raise InputError(f"{name}: too many pixels, expected at most {max_pixels:,}") from None
    if isinstance(error, Image.UnidentifiedImageError):
        raise InputError(f"{name}: not an image of a known format ({', '.join(_FORMATS)})") from None
    if isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.EISDIR, errno.EACCES, errno.ENOTDIR):
        raise InputError(f"{name}: cannot be read ({error.strerror})") from None
    reason = " ".join(str(error).split()) or type(error).__name__
    raise InputError(f"{name}: damaged or truncated image ({reason})") from None


def _from_array(array: np.ndarray, name: str) -> tuple[np.ndarray, bool]:
    is_image = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not is_image or not array.size:
        raise InputError(
            f"{name}: got {array.dtype} {list(array.shape)}, expected uint8 [h, w], [h, w, 3] or [h, w, 4] with pixels"
        )
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=-1)
    return np.ascontiguousarray(array), array.shape[2] == 4


def _from_pil(image: Image.Image, max_pixels: int, name: str) -> tuple[np.ndarray, bool]:
    width, height = image.size
    if width < 1 or height < 1:
        raise InputError(f"{name}: {width} x {height} px, expected at least one pixel")
    if width * height > max_pixels:
        raise InputError(f"{name}: {width} x {height} px, expected at most {max_pixels:,} pixels")
    image = ImageOps.exif_transpose(image)
    if image.mode == "F" or image.mode.startswith("I"):
        return _from_array(_wide_grey_to_bytes(np.asarray(image), name), name)
    has_alpha = image.has_transparency_data
    return np.asarray(image.convert("RGBA" if has_alpha else "RGB")), has_alpha


def _wide_grey_to_bytes(grey: np.ndarray, name: str) -> np.ndarray:
    """Integer grey of 16 bits (stored in 16 or 32) -> uint8; other scales are unknown and refused."""
    if not np.issubdtype(grey.dtype, np.integer) or grey.min() < 0 or grey.max() > 65535:
        raise InputError(f"{name}: {grey.dtype} pixels of unknown scale, expected 8 or 16 bits a channel")
    return np.rint(grey.astype(np.float64) / 257).astype(np.uint8)
