"""Queries: what the user gives, and what the model makes of it."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from fos_jax.boxes import BoxXyxyPx, check_box_xyxy_px
from fos_jax.errors import InputError
from fos_jax.images import ImageSource, prepare_query, read_image
from fos_jax.pattern_table import PatternTable

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
    table = bundle.table
    photos, boxes, images, boxes_norm, categories = [], [], [], [], []
    for index, query in enumerate(queries):
        prefix = f"query {index}: " if len(queries) > 1 else ""
        try:
            categories.append(table.category_id(query.category))
            photo = read_image(query.photo)
            box = check_box_xyxy_px(query.box, photo.shape[1], photo.shape[0])
        except InputError as error:
            raise InputError(f"{prefix}{error}") from None
        image, box_norm = prepare_query(photo, box, bundle.query_size)
        photos.append(photo)
        boxes.append(box)
        images.append(image)
        boxes_norm.append(box_norm)
    if not queries:
        return []
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
