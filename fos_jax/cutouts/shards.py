"""Shards of cut-outs: Parquet files with metadata, measures and the PNG of each cut-out, written whole or not at all.

Columns: `SCHEMA`. Rows of cut-outs that fell to a filter keep their measures; their picture is kept for a few examples
only (`example`, a small JPEG; where a segmenter found the mask, beside what is there in the photograph). Counts and
defects lie in the file's key-value metadata under `fos_jax`, as JSON.
"""

import dataclasses
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fos_jax.cutouts.cutting import Cutout, cut_objects
from fos_jax.cutouts.duplicates import perceptual_hash
from fos_jax.cutouts.filters import rejected_before_cutting, rejections
from fos_jax.cutouts.measures import Measures, measure
from fos_jax.cutouts.records import AnnotatedObject, Defects, Photograph
from fos_jax.cutouts.segmenter import Segmenter
from fos_jax.errors import InputError
from fos_jax.files import published_file
from fos_jax.images import MEAN_COLOUR, matte, prepare_cutout, resize_rgb

_METADATA_KEY = b"fos_jax"
_ROWS_PER_GROUP = 128  # bounds the memory of writing and of reading one picture
_EXAMPLES_PER_SHARD = 4  # pictures kept of each filter
_SEGMENTED_EXAMPLES_PER_SHARD = 12  # each of another photograph: what a segmenter misses must be seen
_EXAMPLE_SIDE_PX = 96
_PAPER = 232  # grey of what is neither photograph nor cut-out
_PNG_OPTIONS = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_SUB)

_MEASURE_TYPES = {
    "width_px": pa.int32(),
    "height_px": pa.int32(),
    "area_px": pa.int64(),
    "truncated": pa.list_(pa.string()),
}
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("category", pa.string()),
        ("source_id", pa.string()),
        ("source_path", pa.string()),
        ("licence", pa.string()),
        ("box_xyxy_px", pa.list_(pa.int32(), 4)),
        ("frame_width_px", pa.int32()),
        ("frame_height_px", pa.int32()),
        ("attributes", pa.string()),  # JSON
        ("hash", pa.uint64()),
        ("source_hash", pa.uint64()),
        ("rejected_by", pa.string()),  # first filter, "" where kept
        ("also_rejected_by", pa.list_(pa.string())),
        *((field.name, _MEASURE_TYPES.get(field.name, pa.float32())) for field in dataclasses.fields(Measures)),
        ("png", pa.binary()),
        ("example", pa.binary()),
    ]
)
_PICTURE_COLUMNS = ("png", "example")
METADATA_COLUMNS = tuple(name for name in SCHEMA.names if name not in _PICTURE_COLUMNS)


def cut_rows(
    photograph: Photograph,
    root: Path,
    mask_root: Path,
    config: Any,
    defects: Defects,
    counts: Counter[str],
    examples: Counter[str],
    segmenter: Segmenter | None = None,
) -> Iterator[dict[str, Any]]:
    """Yields the rows (see `SCHEMA`) of one photograph: cut, measured, filtered, hashed, encoded.

    Objects that fall by their annotation alone are counted in `counts` and cost nothing, but for the first few, which
    are cut to be shown as examples.
    """
    shown: set[str] = set()

    def may_show(name: str) -> bool:
        if segmenter is None:
            return examples[name] < _EXAMPLES_PER_SHARD
        return name not in shown and examples[name] < _SEGMENTED_EXAMPLES_PER_SHARD

    def is_wanted(entry: AnnotatedObject) -> bool:
        name = rejected_before_cutting(entry, config)
        if not name or may_show(name):
            return True  # an example is counted by its row
        counts[name] += 1
        return False

    source_hash = None
    cutouts = cut_objects(photograph, root, mask_root, defects=defects, is_wanted=is_wanted, segmenter=segmenter)
    for cutout in cutouts:
        if source_hash is None:
            source_hash = perceptual_hash(cutout.rgba if cutout.photograph_rgb is None else cutout.photograph_rgb)
        row = _row(cutout, config, may_show, source_hash)
        if row["example"] is not None:
            examples[row["rejected_by"]] += 1
            shown.add(row["rejected_by"])
        yield row


def _row(cutout: Cutout, config: Any, may_show: Callable[[str], bool], source_hash: int) -> dict[str, Any]:
    border = config.truncated
    measures = measure(cutout, border_margin_px=border.border_margin_px, border_contact=border.border_contact)
    failed = rejections(measures, config)
    if cutout.is_crowd and not config.crowd.allow:
        failed = ("crowd", *failed)
    first = failed[0] if failed else ""
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
        "png": None if first else _png(cutout.rgba),
        "example": _rejected_example(cutout) if first and may_show(first) else None,
    }


def _png(rgba: np.ndarray) -> bytes:
    """PNG of uint8 [h, w, 4]. Encoding is what costs most: OpenCV with one filter takes 0.4 of Pillow's time, for 5 %
    more bytes."""
    return cv2.imencode(".png", cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA), _PNG_OPTIONS)[1].tobytes()


def example_jpeg(rgba: np.ndarray) -> bytes:
    """A cut-out of uint8 [h, w, 4] as a small JPEG for reports."""
    return _jpeg(prepare_cutout(rgba, _EXAMPLE_SIDE_PX)[..., :3])


def _jpeg(rgb: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()


def _rejected_example(cutout: Cutout) -> bytes:
    """As `example_jpeg`; what a segmenter found lies in its rectangle, right of the photograph in it."""
    if cutout.response is None or cutout.photograph_rgb is None:
        return example_jpeg(cutout.rgba)
    height, width = cutout.photograph_rgb.shape[:2]
    x0, y0, x1, y1 = cutout.annotated_box_xyxy_px or (0, 0, width, height)
    there = cutout.photograph_rgb[y0:y1, x0:x1]
    found = np.empty_like(there)
    found[:] = MEAN_COLOUR
    left, top, right, bottom = cutout.box_xyxy_px
    found[top - y0 : bottom - y0, left - x0 : right - x0] = matte(cutout.rgba)
    gap = np.full((_EXAMPLE_SIDE_PX, 4, 3), 255, np.uint8)
    return _jpeg(np.hstack([_in_square(there), gap, _in_square(found)]))


def _in_square(rgb: np.ndarray) -> np.ndarray:
    side = _EXAMPLE_SIDE_PX
    height, width = (max(1, round(length * side / max(rgb.shape[:2]))) for length in rgb.shape[:2])
    square = np.full((side, side, 3), _PAPER, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = resize_rgb(np.ascontiguousarray(rgb), width, height)
    return square


def write_shard(path: Path, rows: Iterable[dict[str, Any]], summary: Callable[[], dict[str, Any]]) -> None:
    """Writes one shard.

    Args:
      path: of the shard. Two workers may write it at once where a cluster retries: the last one wins.
      rows: keyed by the columns of `SCHEMA`; pictures may be None.
      summary: called after the last row for the JSON in the file's metadata.
    """
    rows = iter(rows)
    codecs = {name: "none" if name in _PICTURE_COLUMNS else "zstd" for name in SCHEMA.names}
    names = ["category", "source_id", "source_path", "licence", "rejected_by"]
    with (
        published_file(path) as aside,
        pq.ParquetWriter(aside, SCHEMA, compression=codecs, use_dictionary=names) as writer,
    ):
        while group := list(itertools.islice(rows, _ROWS_PER_GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema=SCHEMA))
        writer.add_key_value_metadata({_METADATA_KEY: json.dumps(summary()).encode()})


def read_summary(path: Path) -> dict[str, Any]:
    """The JSON in a shard's metadata; `InputError` where the file is no shard."""
    try:
        return json.loads(pq.read_metadata(path).metadata[_METADATA_KEY])
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    except (KeyError, TypeError, ValueError, pa.ArrowException):
        raise InputError(f"{path}: not a shard of cut-outs") from None


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple]:
    """The wanted columns of each row of one shard as Python values; `InputError` where they cannot be read."""
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS_PER_GROUP, columns=list(columns)):
                yield from zip(*(batch[name].to_pylist() for name in columns), strict=True)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read as a shard of cut-outs ({' '.join(str(error).split())})") from None
