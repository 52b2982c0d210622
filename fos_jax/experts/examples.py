"""Examples that experts learn from: objects of annotated photographs, as queries and as cut-outs."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from fos_jax.boxes import BoxXyxyPx
from fos_jax.cutouts.cutting import cut_objects
from fos_jax.cutouts.measures import truncated_sides
from fos_jax.cutouts.records import NO_MASK, AnnotatedObject, Defects, Photograph
from fos_jax.cutouts.sources import open_source
from fos_jax.errors import InputError
from fos_jax.experts.features import FeatureCache
from fos_jax.experts.inputs import NUM_SILHOUETTE, NUM_TONE, Row, cutout_row, query_row
from fos_jax.images import read_image
from fos_jax.patterns.annotations.reading import ATTRIBUTES, annotation_attributes

MIN_SIDE_PX = 48  # longer side of a rectangle; its shorter one is at least half of it
_CHUNK = 256  # objects whose pictures are in memory at once


class Side(NamedTuple):
    """One side of n pairs.

    Attributes:
      features: float16 [n, F]. shape: float32 [n, S]. tone: float32 [n, T]; see `experts.inputs.Row`.
    """

    features: np.ndarray
    shape: np.ndarray
    tone: np.ndarray

    def of(self, rows: np.ndarray) -> "Side":
        """Some rows."""
        return Side(*(array[rows] for array in self))


@dataclasses.dataclass(frozen=True)
class Examples:
    """n objects of photographs, in the order of their photographs.

    Attributes:
      id, category, split, source_id: str [n].
      attributes: of each, name -> value, as annotations tell them.
      query: the photographs with the rectangles filled.
      foreground: the cut-outs; rows of zeros where `has_mask` is False.
      has_mask: bool [n].
      mirrored: bool [n]; attributes of mirrored objects are those of the mirrored picture.
    """

    id: np.ndarray
    category: np.ndarray
    split: np.ndarray
    source_id: np.ndarray
    attributes: list[dict[str, str]]
    query: Side
    foreground: Side
    has_mask: np.ndarray
    mirrored: np.ndarray

    def __len__(self) -> int:
        return len(self.id)

    def of(self, rows: np.ndarray) -> "Examples":
        """Some rows: int [m] or bool [n]."""
        rows = np.flatnonzero(rows) if np.asarray(rows).dtype == bool else np.asarray(rows)
        columns = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        chosen: dict[str, Any] = {
            name: [value[i] for i in rows]
            if isinstance(value, list)
            else value.of(rows)
            if isinstance(value, Side)
            else value[rows]
            for name, value in columns.items()
        }
        return Examples(**chosen)


def joined_examples(parts: Sequence[Examples]) -> Examples:
    """All parts, one after another."""
    out: dict[str, Any] = {}
    for field in dataclasses.fields(Examples):
        values = [getattr(part, field.name) for part in parts]
        if isinstance(values[0], list):
            out[field.name] = list(itertools.chain.from_iterable(values))
        elif isinstance(values[0], Side):
            out[field.name] = Side(*(np.concatenate(columns) for columns in zip(*values, strict=True)))
        else:
            out[field.name] = np.concatenate(values)
    return Examples(**out)


def photograph_examples(
    source: Mapping[str, Any],
    features: FeatureCache,
    *,
    names: Sequence[str] = (),
    mirror: bool = False,
    jitter: float = 0.0,
    erode: bool = True,
    only_masked: bool = False,
    splits: Sequence[str] = (),
    seed: int = 0,
    progress: bool = True,
) -> Examples:
    """Reads annotated photographs and computes the features of every usable object.

    Args:
      source: as `cutouts.sources.open_source` takes it; objects without masks are kept where it says so.
      features: the frozen backbone and its cache.
      names: attributes to read, names of `patterns.annotations.reading.ATTRIBUTES`.
      mirror: everything mirrored, instead of as it is.
      jitter: standard deviation by which each side of a rectangle is moved, in lengths of that side; sides that touch
        the photograph's border stay. Masks' own boxes are tighter than what people draw, and would give the cut-out's
        exact aspect away.
      erode: see `experts.inputs.cutout_row`; False is for measuring what the rim gives away.
      only_masked: leave objects without masks out.
      splits: only photographs of these splits; all by default.
      seed: of the jitter.
      progress: show a bar.

    Raises:
      InputError: what reading finds, and no usable object at all.
    """
    rng = np.random.default_rng([seed, mirror])
    columns: dict[str, list[Any]] = {name: [] for name in ("id", "category", "split", "source_id", "attributes")}
    sides: dict[str, list[Side]] = {"query": [], "foreground": []}
    masks: list[np.ndarray] = []
    waiting: list[tuple[Row, Row | None]] = []

    def flush() -> None:
        queries, cutouts = zip(*waiting, strict=True)
        has = np.array([row is not None for row in cutouts])
        masks.append(has)
        sides["query"].append(_side(queries, features))
        found = [row for row in cutouts if row is not None] or [_like(queries[0])]
        whole = []
        for values in _side(found, features):
            whole.append(np.zeros((len(has), *values.shape[1:]), values.dtype))
            whole[-1][has] = values[: has.sum()]
        sides["foreground"].append(Side(*whole))
        waiting.clear()

    opened = open_source(source)
    try:
        for photograph in tqdm(opened, total=len(opened), desc="photographs", unit="", disable=not progress):
            if splits and photograph.split not in splits:
                continue
            for entry, query, cutout in _objects(
                photograph, opened, rng, features.backbone.size, mirror, jitter, erode
            ):
                if only_masked and cutout is None:
                    continue
                columns["id"].append(entry.id)
                columns["category"].append(entry.category)
                columns["split"].append(photograph.split or "")
                columns["source_id"].append(photograph.id)
                columns["attributes"].append(_attributes(entry, photograph, names, mirror))
                waiting.append((query, cutout))
                if len(waiting) == _CHUNK:
                    flush()
        if waiting:
            flush()
    finally:
        opened.close()
    if not masks:
        raise InputError(f"{opened.name}: no usable object, expected some of {MIN_SIDE_PX} px or more")
    return Examples(
        **{name: np.array(columns[name]) for name in ("id", "category", "split", "source_id")},
        attributes=columns["attributes"],
        query=Side(*(np.concatenate(c) for c in zip(*sides["query"], strict=True))),
        foreground=Side(*(np.concatenate(c) for c in zip(*sides["foreground"], strict=True))),
        has_mask=np.concatenate(masks),
        mirrored=np.full(len(columns["id"]), mirror),
    )


def _objects(
    photograph: Photograph, source: Any, rng: np.random.Generator, size: int, mirror: bool, jitter: float, erode: bool
) -> Iterator[tuple[AnnotatedObject, Row, Row | None]]:
    usable = [entry for entry in photograph.objects if _is_usable(entry)]
    if not usable:
        return
    rgb = read_image(source.root / photograph.path)
    height, width = rgb.shape[:2]
    defects = Defects(skip=True)  # a mask that is none leaves a query without a foreground
    with_mask = {entry.id for entry in usable if entry.mask != NO_MASK}
    cut = cut_objects(photograph, source.root, source.mask_root, defects=defects, is_wanted=lambda e: e.id in with_mask)
    cutouts = {cutout.id: cutout for cutout in cut}
    seen = np.ascontiguousarray(rgb[:, ::-1]) if mirror else rgb
    for entry in usable:
        box = _jittered(entry.box_xyxy_px, width, height, rng, jitter)
        if mirror:
            box = (width - box[2], box[1], width - box[0], box[3])
        cutout, row = cutouts.get(entry.id), None
        if cutout is not None:
            sides = truncated_sides(
                cutout.rgba[..., 3] > 127, cutout.box_xyxy_px, cutout.frame_size, margin_px=2, contact=0.1
            )
            rgba = cutout.rgba
            if mirror:
                rgba = np.ascontiguousarray(rgba[:, ::-1])
                sides = tuple({"left": "right", "right": "left"}.get(side, side) for side in sides)
            row = cutout_row(rgba, sides, size, erode=erode)
        yield entry, query_row(seen, box, size), row


def _is_usable(entry: AnnotatedObject) -> bool:
    if entry.is_crowd or entry.box_xyxy_px is None:
        return False
    x0, y0, x1, y1 = entry.box_xyxy_px
    return max(x1 - x0, y1 - y0) >= MIN_SIDE_PX and min(x1 - x0, y1 - y0) >= MIN_SIDE_PX // 2


def _jittered(box: BoxXyxyPx | None, width: int, height: int, rng: np.random.Generator, jitter: float) -> BoxXyxyPx:
    assert box is not None
    if not jitter:
        return box
    x0, y0, x1, y1 = box
    move = rng.normal(0, jitter, 4).clip(-2.5 * jitter, 2.5 * jitter) * ([x1 - x0, y1 - y0] * 2)
    stays = (x0 <= 2, y0 <= 2, x1 >= width - 2, y1 >= height - 2)
    a, b, c, d = (v if s else v + m for v, m, s in zip(box, move, stays, strict=True))
    return max(0, round(a)), max(0, round(b)), min(width, round(c)), min(height, round(d))


def _attributes(entry: AnnotatedObject, photograph: Photograph, names: Sequence[str], mirror: bool) -> dict[str, str]:
    if not names or entry.box_xyxy_px is None:
        return {}
    try:
        found = annotation_attributes(
            entry.attributes,
            entry.box_xyxy_px,
            None,
            photograph.width,
            photograph.height,
            entry.category,
            names=names,
            where=entry.where,
        )
    except InputError:  # keypoints outside the picture and the like: unknown stays unknown
        return {}
    return {name: ATTRIBUTES[name].mirrored(value) for name, value in found.items()} if mirror else found


def _side(rows: Sequence[Row], features: FeatureCache) -> Side:
    images, shapes, tones = (np.stack(column) for column in zip(*rows, strict=True))
    return Side(features(images), shapes, tones)


def _like(row: Row) -> Row:
    """A cut-out of nothing, for a chunk without any."""
    image = np.zeros((*row.image.shape[:2], 4), np.uint8)
    return Row(image, np.zeros(NUM_SILHOUETTE, np.float32), np.zeros(NUM_TONE, np.float32))
