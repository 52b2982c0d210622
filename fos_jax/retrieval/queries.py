"""Queries: what a user asks for, the limits set on the answers, and the encoding that a model makes of them."""

import dataclasses
import functools
import math
from collections.abc import Collection, Sequence
from typing import Any, Protocol

import numpy as np

from fos_jax.boxes import BoxXyxyPx, check_box_xyxy_px
from fos_jax.errors import InputError
from fos_jax.images import ImageSource, prepare_query, read_image
from fos_jax.pattern_table import PatternTable
from fos_jax.retrieval.gallery import Metadata

# Batches are padded to one of these, so that only as many programs are compiled.
_BATCH_SIZES = (1, 8, 64)


@dataclasses.dataclass(frozen=True)
class SearchQuery:
    """A photograph, a rectangle in it and a category.

    Attributes:
      photo: path, encoded bytes, PIL image or uint8 array; see `images.read_image`.
      box: x0, y0, x1, y1 in whole pixels of the (upright) photograph, half-open.
      category: name of the category.
    """

    photo: ImageSource
    box: Sequence[float]
    category: str


@dataclasses.dataclass(frozen=True)
class Filters:
    """Hard limits on hits, after what users filter by: rights, resolution, shape. Everything passes by default.

    Attributes:
      min_side_px: least extent of the cut-out's longer side.
      max_upscale: most that the cut-out may have to grow to fill the rectangle (fitted with its aspect kept).
      licences: exact names that are allowed.
      aspect_tolerance: the cut-out's width / height may differ from the rectangle's by this factor, 1 or more.
      exclude: ids that must not come.
    """

    min_side_px: int = 0
    max_upscale: float | None = None
    licences: Collection[str] | None = None
    aspect_tolerance: float | None = None
    exclude: Collection[str] = ()

    def __post_init__(self):
        if not self.min_side_px >= 0:
            raise InputError(f"min_side_px: got {self.min_side_px!r}, expected 0 or more")
        if self.max_upscale is not None and not self.max_upscale > 0:
            raise InputError(f"max_upscale: got {self.max_upscale!r}, expected more than 0")
        if self.aspect_tolerance is not None and not self.aspect_tolerance >= 1:
            raise InputError(f"aspect_tolerance: got {self.aspect_tolerance!r}, expected 1 or more")
        for name in ("licences", "exclude"):
            if isinstance(getattr(self, name), str):
                raise InputError(f"{name}: got one string, expected a collection of them")

    @property
    def is_empty(self) -> bool:
        return self == Filters()

    def allowed(self, metadata: Metadata, rows: np.ndarray, box_xyxy_px: BoxXyxyPx | None) -> np.ndarray:
        """bool [rows]: which rows of the metadata pass; without a rectangle, what compares with it is left out."""
        width, height = metadata.width_px[rows].astype(float), metadata.height_px[rows].astype(float)
        passes = np.maximum(width, height) >= self.min_side_px
        if self.licences is not None:
            passes &= np.isin(metadata.licence[rows], list(self.licences))
        if self.exclude:
            passes &= ~np.isin(metadata.id[rows], list(self.exclude))
        if box_xyxy_px is not None:
            x0, y0, x1, y1 = box_xyxy_px
            if self.max_upscale is not None:
                passes &= np.minimum((x1 - x0) / width, (y1 - y0) / height) <= self.max_upscale
            if self.aspect_tolerance is not None:
                ratio = np.log(width / height) - math.log((x1 - x0) / (y1 - y0))
                passes &= np.abs(ratio) <= math.log(self.aspect_tolerance) + 1e-9
        return passes


@dataclasses.dataclass(frozen=True)
class EncodedQuery:
    """A query as the model sees it.

    Attributes:
      photo: uint8 [h, w, 3].
      box_xyxy_px: the rectangle, checked.
      category: name.
      embedding: float32 [D], unit.
      log_posterior: float32 [patterns of the category], log p(pattern | query), in the order of their ids.
    """

    photo: np.ndarray
    box_xyxy_px: BoxXyxyPx
    category: str
    embedding: np.ndarray
    log_posterior: np.ndarray

    @functools.cached_property
    def posterior(self) -> np.ndarray:
        """float32 [patterns of the category], p(pattern | query)."""
        return np.exp(self.log_posterior)


class EncodesQueries(Protocol):
    """What a search needs of a bundle."""

    table: PatternTable
    fingerprint: str

    @property
    def query_size(self) -> int: ...

    def encode_queries(
        self, image: np.ndarray, box_yxyx_norm: np.ndarray, category: np.ndarray, *, batch_size: int = 256
    ) -> Any: ...


def encode_queries(queries: Sequence[SearchQuery], bundle: EncodesQueries) -> list[EncodedQuery]:
    """Reads, prepares and encodes queries, all in one batch.

    The posterior is the one of both heads combined where the model has a factorised one, the flat one otherwise.

    Raises:
      InputError: an unusable photograph or rectangle or an unknown category; with several queries, their place is
        named. Also where the model's answer is not finite.
    """
    if not queries:
        return []
    table = bundle.table
    photos, boxes, images, boxes_norm, categories = [], [], [], [], []
    for index, query in enumerate(queries):
        try:
            categories.append(table.category_id(query.category))
            photos.append(read_image(query.photo))
            boxes.append(check_box_xyxy_px(query.box, photos[-1].shape[1], photos[-1].shape[0]))
        except InputError as error:
            raise InputError(f"query {index}: {error}" if len(queries) > 1 else str(error)) from None
        image, box_norm = prepare_query(photos[-1], boxes[-1], bundle.query_size)
        images.append(image)
        boxes_norm.append(box_norm)
    batch_size = next((size for size in _BATCH_SIZES if size >= len(queries)), _BATCH_SIZES[-1])
    encoding = bundle.encode_queries(
        np.stack(images), np.stack(boxes_norm), np.array(categories, np.int32), batch_size=batch_size
    )
    both = getattr(encoding, "log_posterior_both", None)
    log_posterior = np.asarray(encoding.log_posterior_flat if both is None else both, np.float32)  # [q, P]
    embedding = np.asarray(encoding.embedding, np.float32)  # [q, D]
    encoded = []
    for i, query in enumerate(queries):
        own = log_posterior[i, table.category_of_pattern == categories[i]]
        if not np.isfinite(embedding[i]).all() or np.isnan(own).any():
            raise InputError(f"bundle {bundle.fingerprint}: the encoding of a query is not finite")
        encoded.append(EncodedQuery(photos[i], boxes[i], query.category, embedding[i], own))
    return encoded
