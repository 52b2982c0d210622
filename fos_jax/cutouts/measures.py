"""Measures of one cut-out, read by filters and reports."""

import dataclasses

import cv2
import numpy as np

from fos_jax.boxes import SIDES, BoxXyxyPx
from fos_jax.cutouts.cutting import Cutout

_VISIBLE = 128
# Sharpness and exposure are read at this size, so that they mean the same for small and large objects.
_READING_SIDE_PX = 128
BORDER_MARGIN_PX, BORDER_CONTACT = 2, 0.1  # see `measure`
_DARK, _BRIGHT = 8, 247  # luminance beyond which nothing can be told apart


@dataclasses.dataclass(frozen=True)
class Measures:
    """Numbers of one cut-out.

    Attributes:
      width_px, height_px: of the mask's bounding box.
      area_px: pixels of the mask.
      truncated: sides of the photograph that cut the object, a subset of `SIDES` in that order; none where the
        cut-out came without its photograph.
      largest_part: the largest connected part's share of the mask; a fragmented object is mostly an occluded one.
      holes: pixels of closed holes as a share of the mask with its holes filled.
      sharpness: variance of the Laplacian of luminance (0..255) inside the mask, the longer side shrunk to 128 px.
      luminance, contrast: mean and standard deviation of luminance inside the mask, 0..255.
      clipped: share of the mask that is nearly black or nearly white.
      box_agreement: intersection over union of the annotated rectangle and the mask's; 1 where none is annotated.
      parts: connected parts that hold at least a hundredth of the mask each.
      softness: pixels that are neither wholly opaque nor wholly transparent, as a share of the mask; 0 where the mask
        is not a segmenter's, since a ready cut-out's soft edge is meant.
      response: of the segmenter (see `Segmenter.segment`); 1 where the mask is not a segmenter's.
    """

    width_px: int
    height_px: int
    area_px: int
    truncated: tuple[str, ...]
    largest_part: float
    holes: float
    sharpness: float
    luminance: float
    contrast: float
    clipped: float
    box_agreement: float
    parts: int = 1
    softness: float = 0.0
    response: float = 1.0


def measure(
    cutout: Cutout, *, border_margin_px: int = BORDER_MARGIN_PX, border_contact: float = BORDER_CONTACT
) -> Measures:
    """Measures a cut-out.

    Args:
      cutout: as cut.
      border_margin_px: how far from the photograph's edge a mask still counts as touching it: polygons are coarse.
      border_contact: share of the bounding box's side that must touch for the object to count as cut there: an object
        that stands on the edge with one corner is not.

    Sharpness is after Pech-Pacheco et al., ICPR 2000 (variance of the Laplacian).
    """
    mask = cutout.rgba[..., 3] >= _VISIBLE
    height, width = mask.shape
    area = int(np.count_nonzero(mask))
    sharpness, luminance, contrast, clipped = _readings(cutout.rgba, mask)
    largest_part, parts = _parts(mask, area)
    alpha = cutout.rgba[..., 3]
    return Measures(
        width_px=width,
        height_px=height,
        area_px=area,
        truncated=truncated_sides(
            mask, cutout.box_xyxy_px, cutout.frame_size, margin_px=border_margin_px, contact=border_contact
        ),
        largest_part=largest_part,
        holes=_holes(mask, area),
        sharpness=sharpness,
        luminance=luminance,
        contrast=contrast,
        clipped=clipped,
        box_agreement=_agreement(cutout.box_xyxy_px, cutout.annotated_box_xyxy_px),
        parts=parts,
        softness=0.0 if cutout.response is None else np.count_nonzero((alpha > 0) & (alpha < 255)) / max(area, 1),
        response=1.0 if cutout.response is None else cutout.response,
    )


def truncated_sides(
    mask: np.ndarray, box_xyxy_px: BoxXyxyPx, frame_size: tuple[int, int], *, margin_px: int, contact: float
) -> tuple[str, ...]:
    """Sides of the photograph that cut the object.

    Args:
      mask: bool [h, w], tight.
      box_xyxy_px: where it lies in the photograph.
      frame_size: the photograph's width and height in pixels; (0, 0) where unknown.
      margin_px, contact: as in `measure`.
    """
    frame_width, frame_height = frame_size
    if not frame_width:
        return ()
    x0, y0, x1, y1 = box_xyxy_px
    depth = (
        margin_px + 1 - x0,
        margin_px + 1 - y0,
        x1 + margin_px + 1 - frame_width,
        y1 + margin_px + 1 - frame_height,
    )
    sides = []
    for side, rows, strips in zip(SIDES, depth, (mask, mask.T, mask[:, ::-1], mask.T[:, ::-1]), strict=True):
        if rows > 0:
            touching = strips[:, :rows].any(axis=1)  # [extent along that side]
            if touching.mean() >= contact:
                sides.append(side)
    return tuple(sides)


def _parts(mask: np.ndarray, area: int) -> tuple[float, int]:
    """The largest part's share, and how many parts hold a hundredth of the mask or more."""
    if not area:
        return 0.0, 0
    _, _, statistics, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    shares = statistics[1:, cv2.CC_STAT_AREA] / area
    return float(shares.max()), int(np.count_nonzero(shares >= 0.01))


def _holes(mask: np.ndarray, area: int) -> float:
    """Background that the frame around the box does not reach, in four-connected steps."""
    outside = np.pad(~mask, 1, constant_values=True).view(np.uint8)
    count, _, statistics, _ = cv2.connectedComponentsWithStats(outside, connectivity=4)
    # Component 1 holds the corner pixel, which comes first: all background that is open to the outside.
    closed = int(statistics[2:count, cv2.CC_STAT_AREA].sum())
    return closed / (area + closed) if area else 0.0


def _readings(rgba: np.ndarray, mask: np.ndarray) -> tuple[float, float, float, float]:
    """Sharpness, luminance, contrast and clipped share."""
    grey: np.ndarray = cv2.cvtColor(rgba, cv2.COLOR_RGBA2GRAY)
    inside: np.ndarray = mask.view(np.uint8)
    scale = _READING_SIDE_PX / max(mask.shape)
    if scale < 1:
        size = tuple(max(1, round(side * scale)) for side in mask.shape[::-1])
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        whole = cv2.resize(inside * np.uint8(255), size, interpolation=cv2.INTER_AREA)
        # Pixels on the edge mix with what is hidden; a thin object has no others.
        inside = ((whole == 255) if whole.max() == 255 else (whole > 0)).view(np.uint8)
    if not inside.any():
        return 0.0, 0.0, 0.0, 1.0
    values = grey[inside > 0].astype(np.float32)
    # The mask's own edge is no texture of the object.
    core = cv2.erode(inside, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    laplacian = cv2.Laplacian(grey, cv2.CV_32F)[core if core.any() else inside > 0]
    clipped = np.mean((values <= _DARK) | (values >= _BRIGHT))
    return float(laplacian.var()), float(values.mean()), float(values.std()), float(clipped)


def _agreement(box: BoxXyxyPx, annotated: BoxXyxyPx | None) -> float:
    if annotated is None:
        return 1.0
    width = min(box[2], annotated[2]) - max(box[0], annotated[0])
    height = min(box[3], annotated[3]) - max(box[1], annotated[1])
    shared = max(width, 0) * max(height, 0)
    areas = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (box, annotated))
    return shared / (areas - shared) if areas > shared else 1.0
