"""Cut the annotated objects of a photograph out by their masks, or by those that a segmenter finds."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fos_jax.boxes import BoxXyxyPx
from fos_jax.cutouts.masks import decode_mask, tighten
from fos_jax.cutouts.records import AnnotatedObject, Defects, Photograph
from fos_jax.cutouts.segmenter import Segmenter
from fos_jax.errors import InputError
from fos_jax.images import MAX_PIXELS, read_cutout, read_image, read_index_image, visible_box_xyxy_px

_MASK_ASPECT_TOLERANCE = 0.01


@dataclasses.dataclass(frozen=True)
class Cutout:
    """One object with its pixels.

    Attributes:
      id, category, is_crowd, attributes: as annotated.
      rgba: uint8 [h, w, 4], straight alpha, cropped to the mask, zero where nothing is visible. Nothing is visible at
        all, and nothing cropped, where a segmenter found no object.
      box_xyxy_px: where it lay in the photograph, tight around the mask.
      annotated_box_xyxy_px: as annotated, None where there was none.
      frame_size: width and height of the photograph in pixels; (0, 0) where the cut-out has no photograph.
      source_id, source_path, licence: the photograph's.
      photograph_rgb: uint8 [H, W, 3], the whole photograph, shared by its cut-outs; None where there is none.
      response: of the segmenter that found the mask (see `Segmenter.segment`); None where none did.
    """

    id: str
    category: str
    rgba: np.ndarray
    box_xyxy_px: BoxXyxyPx
    annotated_box_xyxy_px: BoxXyxyPx | None
    frame_size: tuple[int, int]
    is_crowd: bool
    attributes: Mapping[str, Any]
    source_id: str
    source_path: str
    licence: str
    photograph_rgb: np.ndarray | None
    response: float | None = None


def cut_objects(
    photograph: Photograph,
    root: Path,
    mask_root: Path,
    *,
    defects: Defects,
    is_wanted: Callable[[AnnotatedObject], bool] | None = None,
    segmenter: Segmenter | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[Cutout]:
    """Cuts the objects of one photograph, which is decoded once, and not at all where no object is wanted.

    Args:
      photograph: with its objects.
      root, mask_root: the source's folders.
      defects: takes what cannot be cut.
      is_wanted: asked before anything is decoded.
      segmenter: finds the masks, inside the annotated rectangles or, where there is none, in the whole photograph; the
        source's masks are not looked at.
      max_pixels: larger photographs and masks are defects.

    Raises:
      InputError: unless defects are skipped: the photograph cannot be read or is not of the annotated size; a mask is
        none, is empty, or is of another shape than the photograph; the segmenter fails.
    """
    objects = [entry for entry in photograph.objects if is_wanted is None or is_wanted(entry)]
    if not objects:
        return
    path = root / photograph.path
    rgb = None
    try:
        if segmenter is not None or any(entry.mask is not None for entry in objects):
            rgb = read_image(path, max_pixels=max_pixels)
            _check_size(photograph, rgb, path)
    except InputError as error:
        defects.add("unusable photograph", error)
        return
    for entry in objects:
        try:
            if rgb is None:
                yield _ready_cutout(photograph, entry, read_cutout(path, max_pixels=max_pixels), path)
            elif segmenter is not None:
                yield _segment(photograph, entry, rgb, segmenter)
            else:
                yield _cut(photograph, entry, rgb, mask_root, max_pixels)
        except InputError as error:
            defects.add("unusable mask", error)


def _check_size(photograph: Photograph, rgb: np.ndarray, path: Path) -> None:
    height, width = rgb.shape[:2]
    if photograph.width and (photograph.width, photograph.height) != (width, height):
        raise InputError(f"{path}: {width} x {height} px, but annotated as {photograph.width} x {photograph.height} px")


def _cut(photograph: Photograph, entry: AnnotatedObject, rgb: np.ndarray, mask_root: Path, max_pixels: int) -> Cutout:
    height, width = rgb.shape[:2]
    if isinstance(entry.mask, dict) and "png" in entry.mask:
        path, index = mask_root / entry.mask["png"], entry.mask.get("index")
        box, mask = _read_mask(path, index, width, height, max_pixels, entry.where)
    else:
        box, mask = decode_mask(entry.mask, width, height, where=f"{entry.where}.segmentation")
    x0, y0, x1, y1 = box
    rgba = _hide(cv2.cvtColor(rgb[y0:y1, x0:x1], cv2.COLOR_RGB2RGBA), mask)
    annotated = entry.box_xyxy_px
    if annotated is None and "box_xyxy_norm" in entry.attributes:
        a, b, c, d = entry.attributes["box_xyxy_norm"]
        annotated = (int(a * width), int(b * height), round(c * width), round(d * height))
    return _cutout(photograph, entry, rgba, box, annotated, rgb)


def _segment(photograph: Photograph, entry: AnnotatedObject, rgb: np.ndarray, segmenter: Segmenter) -> Cutout:
    box = entry.box_xyxy_px or (0, 0, rgb.shape[1], rgb.shape[0])
    alpha, response = segmenter.segment(rgb, box, where=entry.where)
    x0, y0 = box[:2]
    if alpha.any():
        box, _ = tighten(box, alpha > 0, where=entry.where)
    left, top, right, bottom = box
    alpha = alpha[top - y0 : bottom - y0, left - x0 : right - x0]
    rgba = _hide(cv2.cvtColor(rgb[top:bottom, left:right], cv2.COLOR_RGB2RGBA), alpha > 0)
    rgba[..., 3] = alpha
    return dataclasses.replace(_cutout(photograph, entry, rgba, box, entry.box_xyxy_px, rgb), response=response)


def _ready_cutout(photograph: Photograph, entry: AnnotatedObject, rgba: np.ndarray, path: Path) -> Cutout:
    x0, y0, x1, y1 = box = visible_box_xyxy_px(rgba, where=str(path))
    cropped = np.ascontiguousarray(rgba[y0:y1, x0:x1])
    return _cutout(photograph, entry, _hide(cropped, cropped[..., 3] > 0), box, None, None)


def _hide(rgba: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Zeros outside the mask: nothing of the background stays behind it, and files are smaller."""
    return cv2.copyTo(rgba, np.ascontiguousarray(mask).view(np.uint8))


def _cutout(
    photograph: Photograph,
    entry: AnnotatedObject,
    rgba: np.ndarray,
    box: BoxXyxyPx,
    annotated: BoxXyxyPx | None,
    rgb: np.ndarray | None,
) -> Cutout:
    return Cutout(
        id=entry.id,
        category=entry.category,
        rgba=rgba,
        box_xyxy_px=box,
        annotated_box_xyxy_px=annotated,
        frame_size=(0, 0) if rgb is None else (rgb.shape[1], rgb.shape[0]),
        is_crowd=entry.is_crowd,
        attributes=entry.attributes,
        source_id=photograph.id,
        source_path=photograph.path,
        licence=photograph.licence,
        photograph_rgb=rgb,
    )


def _read_mask(
    path: Path, index: int | None, width: int, height: int, max_pixels: int, where: str
) -> tuple[BoxXyxyPx, np.ndarray]:
    """A mask file. Open Images stores some at another resolution than the photograph; another shape is a mistake."""
    if index is None:
        grey = read_image(path, max_pixels=max_pixels)[..., 0]
    else:
        grey = (read_index_image(path, max_pixels=max_pixels) == index).view(np.uint8) * np.uint8(255)
    mask_height, mask_width = grey.shape
    expected_height = mask_width * height / width
    if abs(mask_height - expected_height) > 1 + _MASK_ASPECT_TOLERANCE * expected_height:
        raise InputError(
            f"{where}: {path} is {mask_width} x {mask_height} px, which is not the shape of a photograph of "
            f"{width} x {height} px"
        )
    if (mask_width, mask_height) != (width, height):
        grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_NEAREST)
    return tighten((0, 0, width, height), grey > 127, where=f"{where}: {path}")
