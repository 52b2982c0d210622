"""Descriptors by which cut-outs are grouped: blocks of numbers, each from one view of the cut-out.

Blocks (name: what, width):
    embedding    an encoder's unit vector
    gradients    histograms of oriented gradients on a grid, of luminance and of the silhouette
    shape        logarithm of the aspect, extent, solidity, central moments (turned and mirrored shapes differ), Hu's
    truncation   which sides of the photograph cut the object, 4
    keypoints    annotated keypoints: place within the box and visibility, 3 each
    viewpoint    annotated azimuth and elevation, as points on circles, 4
The last two only where annotations carry them; unknown rows are NaN and take no side in grouping.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.cutouts.measures import SIDES
from fos_jax.errors import InputError
from fos_jax.images import prepare_cutout

BLOCKS = ("embedding", "gradients", "shape", "truncation", "keypoints", "viewpoint")
Embed = Callable[[np.ndarray, Sequence[str]], np.ndarray]  # uint8 [n, S, S, 4], categories -> float32 [n, D]

_CELLS, _CELL_PX, _ORIENTATIONS = 8, 8, 8
_GRADIENT_SIDE_PX = _CELLS * _CELL_PX
_BATCH = 256


def describe(
    cutouts: CutoutSet,
    blocks: Sequence[str],
    *,
    embed: Embed | None = None,
    embed_side_px: int = 64,
    progress: bool = True,
) -> dict[str, np.ndarray]:
    """Describes all cut-outs.

    Args:
      cutouts: n of them.
      blocks: names from `BLOCKS`.
      embed: encoder for the block "embedding".
      embed_side_px: size of the images that it gets.
      progress: show a bar.

    Returns:
      Block -> float32 [n, width], NaN rows where the annotation says nothing.

    Raises:
      InputError: an unknown block, "embedding" without an encoder, or annotations that carry nothing of a block.
    """
    unknown = [name for name in blocks if name not in BLOCKS]
    if unknown or not blocks:
        raise InputError(f"blocks: got {', '.join(unknown) or 'none'}, expected some of {', '.join(BLOCKS)}")
    if "embedding" in blocks and embed is None:
        raise InputError("blocks: embedding needs an encoder (a model bundle)")
    result: dict[str, np.ndarray] = {}
    attributes = cutouts.attributes()
    if "truncation" in blocks:
        result["truncation"] = np.array(
            [[side in sides for side in SIDES] for sides in cutouts.column("truncated")], np.float32
        ).reshape(len(cutouts), len(SIDES))
    if "keypoints" in blocks:
        result["keypoints"] = keypoint_block(attributes, cutouts.column("box_xyxy_px"))
    if "viewpoint" in blocks:
        result["viewpoint"] = viewpoint_block(attributes)
    from_pictures = [name for name in ("embedding", "gradients", "shape") if name in blocks]
    if from_pictures:
        result |= describe_pictures(
            cutouts.pictures(),
            cutouts.column("category"),
            from_pictures,
            embed=embed,
            embed_side_px=embed_side_px,
            progress=progress,
        )
    return {name: result[name] for name in blocks}


def describe_pictures(
    pictures: Iterable[tuple[int, np.ndarray]],
    categories: Sequence[str],
    blocks: Sequence[str],
    *,
    embed: Embed | None = None,
    embed_side_px: int = 64,
    progress: bool = True,
) -> dict[str, np.ndarray]:
    """The blocks that need nothing but pictures ("embedding", "gradients", "shape").

    Args:
      pictures: (index, uint8 [h, w, 4]) of each of the n cut-outs, in any order.
      categories: [n].
      blocks, embed, embed_side_px, progress: as `describe`.

    Returns:
      Block -> float32 [n, width].
    """
    rows: dict[str, dict[int, np.ndarray]] = {name: {} for name in blocks}
    waiting: list[tuple[int, np.ndarray]] = []

    def flush() -> None:
        if waiting and embed is not None:
            indices = [index for index, _ in waiting]
            vectors = embed(np.stack([image for _, image in waiting]), [categories[i] for i in indices])
            rows["embedding"].update(zip(indices, np.asarray(vectors, np.float32), strict=True))
            waiting.clear()

    with tqdm(desc="descriptors", unit=" cut-outs", total=len(categories), disable=not progress) as bar:
        for index, rgba in pictures:
            if "shape" in rows:
                rows["shape"][index] = shape_descriptor(rgba[..., 3] >= 128)
            if "gradients" in rows:
                rows["gradients"][index] = gradient_descriptor(prepare_cutout(rgba, _GRADIENT_SIDE_PX))
            if "embedding" in rows:
                waiting.append((index, prepare_cutout(rgba, embed_side_px)))
                if len(waiting) == _BATCH:
                    flush()
            bar.update()
    flush()
    return {name: np.stack([found[i] for i in range(len(categories))]) for name, found in rows.items()}


def shape_descriptor(mask: np.ndarray) -> np.ndarray:
    """The shape of a mask, bool [h, w] with something in it, whatever its size and place.

    Returns:
      float32 [17]: logarithm of the bounding box's aspect; extent (area / box); solidity (area / convex hull);
      normalised central moments of order 2 and 3 (7); Hu's seven invariants, logarithmic with their sign.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        raise ValueError("shape_descriptor: the mask is empty, expected some pixel")
    tight = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = tight.shape
    moments = cv2.moments(np.ascontiguousarray(tight).view(np.uint8), binaryImage=True)
    hull = cv2.convexHull(cv2.findNonZero(np.ascontiguousarray(tight).view(np.uint8)))
    # Pixels are squares: the hull of their centres lacks half a pixel all around.
    hull_area = cv2.contourArea(hull) + cv2.arcLength(hull, True) / 2 + 1
    central = [moments[name] for name in ("nu20", "nu11", "nu02", "nu30", "nu21", "nu12", "nu03")]
    hu = cv2.HuMoments(moments).reshape(-1)
    area = moments["m00"]
    return np.array(
        [
            np.log(width / height),
            area / (width * height),
            min(area / hull_area, 1.0),
            *central,
            *(np.sign(hu) * np.log1p(np.abs(hu) * 1e4)),
        ],
        np.float32,
    )


def gradient_descriptor(prepared: np.ndarray) -> np.ndarray:
    """Oriented gradients of a prepared cut-out, uint8 [64, 64, 4].

    Returns:
      float32 [2 * 8 * 8 * 8]: for luminance and for alpha, unit vectors of histograms of signed orientation in 8 bins
      over 8 x 8 cells, square roots taken. Source: after Dalal and Triggs, CVPR 2005, without blocks.
    """
    if prepared.shape != (_GRADIENT_SIDE_PX, _GRADIENT_SIDE_PX, 4):
        raise ValueError(f"gradient_descriptor: got {prepared.shape}, expected (64, 64, 4)")
    luminance = cv2.cvtColor(prepared[..., :3], cv2.COLOR_RGB2GRAY)
    return np.concatenate([_histograms(luminance), _histograms(np.ascontiguousarray(prepared[..., 3]))])


def _histograms(grey: np.ndarray) -> np.ndarray:
    dx, dy = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    strength, angle = np.hypot(dx, dy), np.arctan2(dy, dx)  # [64, 64]
    orientation = np.floor((angle / (2 * np.pi) + 1) * _ORIENTATIONS + 0.5).astype(int) % _ORIENTATIONS
    cell = np.arange(_GRADIENT_SIDE_PX) // _CELL_PX
    place = (cell[:, None] * _CELLS + cell[None, :]) * _ORIENTATIONS + orientation
    sums = np.bincount(place.reshape(-1), strength.reshape(-1), minlength=_CELLS * _CELLS * _ORIENTATIONS)
    total = sums.sum()
    return np.sqrt(sums / total if total else sums).astype(np.float32)


def keypoint_block(attributes: Sequence[Mapping[str, Any]], boxes: Sequence[Sequence[int]]) -> np.ndarray:
    """Annotated keypoints (COCO's x, y, visibility) relative to the cut-out's box.

    Returns:
      float32 [n, 3 k]: x and y from -0.5 to 0.5 within the box (0 where not labelled) and visibility / 2.

    Raises:
      InputError: no annotation carries keypoints, or their numbers differ.
    """
    lists = [entry.get("keypoints") for entry in attributes]
    lengths = {len(values) for values in lists if isinstance(values, list)}
    if len(lengths) != 1 or min(lengths) == 0 or min(lengths) % 3:
        raise InputError(
            f"keypoints: lists of {sorted(lengths) or 'no'} numbers, expected the same multiple of 3 in all"
        )
    out = np.full((len(lists), min(lengths)), np.nan, np.float32)
    for row, (values, (x0, y0, x1, y1)) in enumerate(zip(lists, boxes, strict=True)):
        if not isinstance(values, list) or not _are_numbers(values):
            continue
        points = np.array(values, np.float64).reshape(-1, 3)
        is_labelled = points[:, 2] > 0
        if is_labelled.any():
            place = (points[:, :2] - (x0, y0)) / (x1 - x0, y1 - y0) - 0.5
            points[:, :2] = np.where(is_labelled[:, None], np.clip(place, -1, 1), 0)
            points[:, 2] = np.clip(points[:, 2] / 2, 0, 1)
            out[row] = points.reshape(-1)
    return out


def viewpoint_block(attributes: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Annotated `azimuth_deg` and `polar_deg` (0 = from above): float32 [n, 4], sines and cosines.

    The azimuth's circle shrinks towards the pole, where it means nothing.
    """
    out = np.full((len(attributes), 4), np.nan, np.float32)
    for row, entry in enumerate(attributes):
        angles = [entry.get("azimuth_deg"), entry.get("polar_deg")]
        if _are_numbers(angles):
            azimuth, polar = np.deg2rad(np.array(angles, np.float64))
            level = np.sin(polar)
            out[row] = level * np.sin(azimuth), level * np.cos(azimuth), level, np.cos(polar)
    if np.isnan(out).all():
        raise InputError("viewpoint: no annotation carries azimuth_deg and polar_deg")
    return out


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 1e9 for v in values)
