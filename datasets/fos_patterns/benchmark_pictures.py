"""The pictures that a benchmark stores: photographs with their rectangle filled, and cut-outs."""

import zlib

import numpy as np

from fos_jax.boxes import BoxXyxyPx
from fos_jax.cutouts.sources.reading import check_inside
from fos_jax.datasets.fos_patterns.benchmark import Benchmark, Entry, Settings
from fos_jax.errors import InputError
from fos_jax.images import MEAN_COLOUR, read_image, resize_rgb, resize_rgba


def grown_box(entry: Entry, width: int, height: int, settings: Settings) -> BoxXyxyPx:
    """The entry's rectangle with each side moved outwards as the settings say, inside the photograph.

    The same entry and settings give the same rectangle; it always holds the whole object.
    """
    low, high = settings.growth
    draw = np.random.default_rng([settings.seed, zlib.crc32(entry.id.encode())]).uniform(low, high, 4)
    x0, y0, x1, y1 = entry.box_xyxy_px
    w, h = x1 - x0, y1 - y0
    return (
        max(0, int(np.floor(x0 - draw[0] * w))),
        max(0, int(np.floor(y0 - draw[1] * h))),
        min(width, int(np.ceil(x1 + draw[2] * w))),
        min(height, int(np.ceil(y1 + draw[3] * h))),
    )


def query_picture(entry: Entry, plan: Benchmark) -> tuple[np.ndarray, BoxXyxyPx, tuple[int, int]]:
    """The photograph with the rectangle filled, shrunk to the settings' size.

    Filled before it is shrunk: no pixel inside the rectangle reaches the stored picture.

    Returns:
      uint8 [h, w, 3]; the rectangle and (width, height) of the photograph it is in, before shrinking.

    Raises:
      InputError: the photograph is missing, unreadable, lies outside its folder, or is smaller than its annotation.
    """
    relative = check_inside(plan.photographs, entry.photograph, where=f"cut-out {entry.id}: source_path")
    path = plan.photographs / relative
    rgb = np.array(read_image(path))
    height, width = rgb.shape[:2]
    if entry.box_xyxy_px[2] > width or entry.box_xyxy_px[3] > height:
        raise InputError(f"{path}: {width} x {height} px, expected the photograph that {entry.id} was cut from")
    x0, y0, x1, y1 = box = grown_box(entry, width, height, plan.settings)
    rgb[y0:y1, x0:x1] = MEAN_COLOUR
    scale = plan.settings.longest_side_px / max(width, height)
    if scale < 1:
        rgb = resize_rgb(rgb, max(1, round(width * scale)), max(1, round(height * scale)))
    return rgb, box, (width, height)


def stored_cutout(rgba: np.ndarray, side_px: int) -> np.ndarray:
    """A cut-out, shrunk where its longer side exceeds `side_px`: uint8 [h, w, 4]."""
    height, width = rgba.shape[:2]
    scale = side_px / max(width, height)
    if scale >= 1:
        return rgba
    return resize_rgba(rgba, max(1, round(width * scale)), max(1, round(height * scale)))
