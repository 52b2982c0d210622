"""Queries: what a user asks for, and the encoding that a model makes of it."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from fos_jax.boxes import BoxXyxyPx, check_box_xyxy_px
from fos_jax.errors import InputError
from fos_jax.gallery.foregrounds import class_id
from fos_jax.images import ImageSource, read_image
from fos_jax.pattern_table import PatternTable
from fos_jax.retrieval.rules import Place

# Batches are padded to one of these, so that only as many programs are compiled.
_BATCH_SIZES = (1, 8, 64)
BATCH_SIZE = _BATCH_SIZES[-1]


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
      log_posterior: float32 [patterns of the category], log p(pattern | query), in the order of their ids; empty where
        the category has none.
      experts: name -> float32 [size of the expert], unit.
      weights: of the experts' cosines in the score, name -> 0 or more.
    """

    photo: np.ndarray
    box_xyxy_px: BoxXyxyPx
    category: str
    embedding: np.ndarray
    log_posterior: np.ndarray
    experts: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    weights: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def posterior(self) -> np.ndarray:
        """float32 [patterns of the category], p(pattern | query)."""
        return np.exp(self.log_posterior)

    @property
    def place(self) -> Place:
        """The rectangle in its photograph."""
        return Place(self.box_xyxy_px, self.photo.shape[1], self.photo.shape[0])


class ForegroundAsQuery(NamedTuple):
    """A foreground of the gallery that others are compared with; see `gallery.foregrounds.Query`."""

    embedding: np.ndarray
    posterior: np.ndarray
    experts: Mapping[str, np.ndarray]
    weights: Mapping[str, float]


class EncodesQueries(Protocol):
    """What a search needs of a bundle.

    Attributes:
      table: its patterns. fingerprint: of everything that encodings depend on.
      prototypes: float32 [P, D], unit.
      has_query_encoder: whether queries can be encoded.
      accepts_any_category: whether it encodes categories that the table lacks, as class id -1: all their
        log-probabilities are -inf.
      expert_weights: name -> usual weight of each expert whose cosine adds to the score.
    """

    table: PatternTable
    fingerprint: str

    @property
    def prototypes(self) -> np.ndarray: ...

    @property
    def has_query_encoder(self) -> bool: ...

    @property
    def accepts_any_category(self) -> bool: ...

    @property
    def expert_weights(self) -> Mapping[str, float]: ...

    def query_inputs(self, photo: np.ndarray, box_xyxy_px: Sequence[float]) -> tuple[np.ndarray, ...]:
        """One query's inputs of uint8 photo [h, w, 3]; the first is an image, uint8 [S, S, 3]."""
        ...

    def query_window(self, box_xyxy_px: Sequence[int], width: int, height: int) -> tuple[int, int, int]:
        """Left, top and side in pixels of the window of the photograph that the first input shows; it may leave it."""
        ...

    @property
    def encode_queries(self) -> Callable[..., Any]:
        """Takes stacked inputs and int32 category [n], keywords batch_size and progress.

        Returns an object with `embedding` float32 [n, D], `log_posterior` float32 [n, P] and `experts`, name ->
        float32 [n, size of the expert], embeddings and experts of unit length.
        """
        ...


def encode_queries(
    queries: Sequence[SearchQuery], bundle: EncodesQueries, *, weights: Mapping[str, float] | None = None
) -> list[EncodedQuery]:
    """Reads, prepares and encodes queries, all in one batch.

    The posterior is the one of both heads combined where the model has a factorised one, the flat one otherwise.

    Args:
      queries: what is asked for.
      bundle: the model.
      weights: of experts, by name, where they are not to be the bundle's.

    Raises:
      InputError: an unusable photograph or rectangle or an unknown category; with several queries, their place is
        named. Also weights that make no sense, and where the model's answer is not finite.
    """
    prepared = []
    for index, query in enumerate(queries):
        try:
            prepared.append(prepare_query(query, bundle))
        except InputError as error:
            raise InputError(f"query {index}: {error}" if len(queries) > 1 else str(error)) from None
    return encode_prepared(prepared, bundle, weights=weights)


def batch_size_for(number: int) -> int:
    """The size of batch that so many queries are encoded in."""
    return next((size for size in _BATCH_SIZES if size >= number), BATCH_SIZE)


class PreparedQuery(NamedTuple):
    """A query that was read and checked: what `EncodedQuery` keeps of it, and the model's inputs."""

    photo: np.ndarray
    box_xyxy_px: BoxXyxyPx
    category: str
    class_id: int
    inputs: tuple[np.ndarray, ...]


def prepare_query(query: SearchQuery, bundle: EncodesQueries, *, keep_photo: bool = True) -> PreparedQuery:
    """Reads and checks a query.

    Args:
      query: what is asked for. bundle: the model.
      keep_photo: where False, the photograph is a black one of its size that takes no memory; hits make no composites.

    Raises:
      InputError: an unusable photograph or rectangle, or an unknown category.
    """
    number = class_id(query.category, bundle)
    photo = read_image(query.photo)
    box = check_box_xyxy_px(query.box, photo.shape[1], photo.shape[0])
    kept = photo if keep_photo else np.broadcast_to(np.uint8(0), photo.shape)
    return PreparedQuery(kept, box, query.category, number, bundle.query_inputs(photo, box))


def encode_prepared(
    prepared: Sequence[PreparedQuery],
    bundle: EncodesQueries,
    *,
    weights: Mapping[str, float] | None = None,
    batch_size: int | None = None,
) -> list[EncodedQuery]:
    """`encode_queries` of what `prepare_query` made.

    Numbers differ in their last digits between batches of different sizes; with `batch_size` queries are repeated until
    there are as many, so that it does not matter how many there are.
    """
    weights = check_weights(weights, bundle.expert_weights)
    if not prepared:
        return []
    padded = [*prepared, *[prepared[-1]] * ((batch_size or 0) - len(prepared))]
    batch_size = batch_size_for(len(padded))
    stacked = [np.stack(column) for column in zip(*(query.inputs for query in padded), strict=True)]
    categories = np.array([query.class_id for query in padded], np.int32)
    encoding = bundle.encode_queries(*stacked, categories, batch_size=batch_size)
    log_posterior = np.asarray(encoding.log_posterior, np.float32)  # [q, P]
    embedding = np.asarray(encoding.embedding, np.float32)  # [q, D]
    experts = {name: np.asarray(encoding.experts[name], np.float32) for name in bundle.expert_weights}  # [q, size]
    encoded = []
    for i, query in enumerate(prepared):
        own = log_posterior[i, bundle.table.category_of_pattern == query.class_id]
        of_experts = {name: vectors[i] for name, vectors in experts.items()}
        is_finite = all(np.isfinite(vector).all() for vector in (embedding[i], *of_experts.values()))
        if not is_finite or np.isnan(own).any():
            raise InputError(f"bundle {bundle.fingerprint}: the encoding of a query is not finite")
        known = (query.photo, query.box_xyxy_px, query.category)
        encoded.append(EncodedQuery(*known, embedding[i], own, of_experts, weights))
    return encoded


def check_weights(weights: Mapping[str, float] | None, usual: Mapping[str, float]) -> dict[str, float]:
    """The usual weights of a bundle's experts, those of `weights` in their place.

    Raises:
      InputError: the name of no expert, or a weight that is not a finite number of 0 or more.
    """
    for name, value in (weights or {}).items():
        if name not in usual:
            raise InputError(
                f"weights: unknown expert {name!r}, expected {' or '.join(usual) or 'none in this bundle'}"
            )
        if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 <= value < math.inf:
            raise InputError(f"weights: {name} is {value!r}, expected a finite number of 0 or more")
    return {name: float(value) for name, value in {**usual, **(weights or {})}.items()}
