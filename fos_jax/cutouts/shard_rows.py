"""The rows of a shard from one photograph: cut, measured, judged, hashed, encoded."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fos_jax.cutouts.cutting import Cutout, cut_objects
from fos_jax.cutouts.duplicates import perceptual_hash
from fos_jax.cutouts.filters import rejected_before_cutting, rejections
from fos_jax.cutouts.measures import measure
from fos_jax.cutouts.records import AnnotatedObject, Defects, Photograph
from fos_jax.images import prepare_cutout

_EXAMPLES_A_SHARD = 4  # pictures kept of each filter
_EXAMPLE_SIDE_PX = 96
_PNG_OPTIONS = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_SUB)


def cut_rows(
    photograph: Photograph,
    root: Path,
    mask_root: Path,
    config: Any,
    defects: Defects,
    counts: Counter[str],
    examples: Counter[str],
) -> Iterator[dict[str, Any]]:
    """Yields the rows (see `shards.SCHEMA`) of one photograph.

    Objects that fall by their annotation alone are counted in `counts` and cost nothing, but for the first few, which
    are cut to be shown as examples.
    """

    def is_wanted(entry: AnnotatedObject) -> bool:
        name = rejected_before_cutting(entry, config)
        if not name:
            return True
        if examples[name] < _EXAMPLES_A_SHARD:
            return True  # cut to be shown; its row is what counts it
        counts[name] += 1
        return False

    source_hash = None
    for cutout in cut_objects(photograph, root, mask_root, defects=defects, is_wanted=is_wanted):
        if source_hash is None:
            source_hash = perceptual_hash(cutout.rgba if cutout.photograph_rgb is None else cutout.photograph_rgb)
        yield _row(cutout, config, examples, source_hash)


def _row(cutout: Cutout, config: Any, examples: Counter[str], source_hash: int) -> dict[str, Any]:
    border = config.truncated
    measures = measure(cutout, border_margin_px=border.border_margin_px, border_contact=border.border_contact)
    failed = rejections(measures, config)
    if cutout.is_crowd and not config.crowd.allow:
        failed = ("crowd", *failed)
    first = failed[0] if failed else ""
    is_example = bool(first) and examples[first] < _EXAMPLES_A_SHARD
    examples[first] += is_example
    return {
        "id": cutout.id,
        "category": cutout.category,
        "source_id": cutout.source_id,
        "source_path": cutout.source_path,
        "licence": cutout.licence,
        "box_xyxy_px": list(cutout.box_xyxy_px),
        "frame_width_px": cutout.frame_size[0],
        "frame_height_px": cutout.frame_size[1],
        "attributes": json.dumps(dict(cutout.attributes)),
        "hash": 0 if first else perceptual_hash(cutout.rgba),
        "source_hash": source_hash,
        "rejected_by": first,
        "also_rejected_by": list(failed[1:]),
        **dataclasses.asdict(measures),
        "png": None if first else cutout_png(cutout.rgba),
        "example": example_jpeg(cutout.rgba) if is_example else None,
    }


def cutout_png(rgba: np.ndarray) -> bytes:
    """PNG of uint8 [h, w, 4]. Encoding is what costs most: OpenCV with one filter takes 0.4 of Pillow's time, for 5 %
    more bytes."""
    return cv2.imencode(".png", cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA), _PNG_OPTIONS)[1].tobytes()


def example_jpeg(rgba: np.ndarray) -> bytes:
    """A cut-out of uint8 [h, w, 4] as a small JPEG for reports."""
    small = prepare_cutout(rgba, _EXAMPLE_SIDE_PX)[..., :3]
    return cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR))[1].tobytes()
