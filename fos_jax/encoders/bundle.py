"""The model bundle in memory: what encodes foregrounds and queries for everything downstream of training."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from fos_jax.encoders.build import build_foreground_encoder, build_query_encoder, run_in_batches
from fos_jax.encoders.bundle_files import read_bundle
from fos_jax.encoders.bundle_files import save_bundle as save_bundle
from fos_jax.encoders.config import check_config
from fos_jax.encoders.foreground import ForegroundOutput
from fos_jax.encoders.query import QueryOutput
from fos_jax.errors import InputError
from fos_jax.images import prepare_cutout, prepare_query, query_window
from fos_jax.pattern_table import PatternTable
from fos_jax.posteriors import combined_log_posterior, factorised_log_posterior, pattern_log_posterior, unit

_NO_EXPERTS: Mapping[str, np.ndarray] = {}


class ForegroundEncoding(NamedTuple):
    """Encoded foregrounds.

    Attributes:
      embedding: float32 [n, D], unit.
      log_posterior: float32 [n, P], -inf outside the category.
      experts: name -> float32 [n, size of the expert], unit; see `Bundle.expert_weights`.
    """

    embedding: np.ndarray
    log_posterior: np.ndarray
    experts: Mapping[str, np.ndarray] = _NO_EXPERTS


class QueryEncoding(NamedTuple):
    """Encoded queries.

    Attributes:
      embedding: float32 [n, D], unit, in the space of the foregrounds.
      log_posterior_flat: float32 [n, P], -inf outside the category.
      log_posterior_factorised: the same from the attribute head; None where patterns carry no attributes or no head
        was trained for them.
      log_posterior_both: normalised geometric mean of the two; the flat one where there is no other.
      experts: as a foreground's.
    """

    embedding: np.ndarray
    log_posterior_flat: np.ndarray
    log_posterior_factorised: np.ndarray | None
    log_posterior_both: np.ndarray
    experts: Mapping[str, np.ndarray] = _NO_EXPERTS

    @property
    def log_posterior(self) -> np.ndarray:
        """float32 [n, P]: what search ranks by."""
        return self.log_posterior_both


class Bundle:
    """A trained model: config, pattern table and variables of one or both encoders.

    Attributes:
      config: the resolved config, an ml_collections.FrozenConfigDict.
      table: the pattern table.
      metrics: what the model was measured at.
      fingerprint: hex digest of everything that encodings depend on.
      variables: "foreground" and, where there are any, "query", "interaction", "composite" (`extras`) -> the
        network's flax variables (numpy).
      accepts_any_category: whether categories that the table lacks (class id -1) can be encoded.
      expert_weights: experts whose cosines add to the score of a search, each with its usual weight.
    """

    accepts_any_category: ClassVar[bool] = False
    expert_weights: ClassVar[Mapping[str, float]] = {}

    def __init__(
        self,
        *,
        config: Mapping[str, Any],
        table: PatternTable,
        variables: Mapping[str, Any],
        metrics: Mapping[str, Any],
        fingerprint: str,
    ):
        from ml_collections import FrozenConfigDict

        self._checked = check_config(config)
        self.config = FrozenConfigDict(dict(self._checked))
        self.table = table
        self.variables = dict(variables)
        self.metrics = dict(metrics)
        self.fingerprint = fingerprint

    @property
    def has_query_encoder(self) -> bool:
        """Whether queries can be encoded; False for a teacher alone."""
        return "query" in self.variables

    @property
    def foreground_size(self) -> int:
        """Side of cut-outs in pixels."""
        return self.config.foreground.image_size

    @property
    def query_size(self) -> int:
        """Side of backgrounds in pixels; `InputError` where there is no query encoder."""
        self._need_query_encoder()
        return self.config.query.image_size

    @functools.cached_property
    def prototypes(self) -> np.ndarray:
        """float32 [P, D]: the unit vectors that stand for the patterns."""
        if not self.table.num_patterns:
            return np.zeros((0, self.config.foreground.embedding_size), np.float32)
        return np.asarray(unit(jnp.asarray(self.variables["foreground"]["params"]["prototypes"])))

    def foreground_inputs(self, rgba: np.ndarray, truncated: tuple[str, ...] | None = None) -> tuple[np.ndarray]:
        """What `encode_foregrounds` takes of one cut-out: its image.

        Args:
          rgba: uint8 [h, w, 4], straight alpha.
          truncated: sides at which its photograph cut it; not used here.

        Raises:
          InputError: nothing is visible.
        """
        return (prepare_cutout(rgba, self.foreground_size),)

    def query_inputs(self, photo: np.ndarray, box_xyxy_px: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """What `encode_queries` takes of one query: uint8 image [S, S, 3] and float32 box_yxyx_norm [4].

        Args:
          photo: uint8 [h, w, 3]. box_xyxy_px: the rectangle in it.

        Raises:
          InputError: no query encoder, or a rectangle that is none or leaves the photograph.
        """
        return prepare_query(photo, box_xyxy_px, self.query_size)

    def query_window(self, box_xyxy_px: Sequence[int], width: int, height: int) -> tuple[int, int, int]:
        """Left, top and side in pixels of the window of a width x height photograph that a query's image shows."""
        return query_window(box_xyxy_px, width, height)

    def encode_foregrounds(
        self, image: np.ndarray, category: np.ndarray, *, batch_size: int = 256, progress: bool = False
    ) -> ForegroundEncoding:
        """Embeddings and pattern posteriors of cut-outs.

        Args:
          image: uint8 [n, S, S, 4] with S = `foreground_size`, as `images.prepare_cutout` leaves them.
          category: int [n].
          batch_size: rows at a time; the last batch is padded.
          progress: whether to show a progress bar.

        Raises:
          InputError: wrong shape, dtype or category.
        """
        image = _checked_image(image, self.foreground_size, 4)
        category = self._checked_category(category, len(image))
        embedding, log_posterior = _in_batches(
            self._foreground_step, (image, category), batch_size, "encoding foregrounds" if progress else ""
        )
        return ForegroundEncoding(embedding, log_posterior)

    def encode_queries(
        self,
        image: np.ndarray,
        box_yxyx_norm: np.ndarray,
        category: np.ndarray,
        *,
        batch_size: int = 256,
        progress: bool = False,
    ) -> QueryEncoding:
        """Embeddings and pattern posteriors of queries.

        Args:
          image: uint8 [n, S, S, 3] with S = `query_size`, as `images.prepare_query` leaves them.
          box_yxyx_norm: float [n, 4].
          category: int [n].
          batch_size: rows at a time; the last batch is padded.
          progress: whether to show a progress bar.

        Raises:
          InputError: no query encoder in this bundle; wrong shape, dtype, rectangle or category.
        """
        image = _checked_image(image, self.query_size, 3)
        box = _checked_box(box_yxyx_norm, len(image))
        category = self._checked_category(category, len(image))
        rows = _in_batches(self._query_step, (image, box, category), batch_size, "encoding queries" if progress else "")
        embedding, flat, factorised, both = rows
        return QueryEncoding(embedding, flat, factorised if self._has_factorised else None, both)

    @functools.cached_property
    def _foreground_step(self) -> Callable[..., tuple[jax.Array, ...]]:
        encoder = build_foreground_encoder(self._checked, self.table)
        scale = self.config.foreground.posterior_scale
        variables = jax.device_put(self.variables["foreground"])
        categories = self.table.category_of_pattern

        @jax.jit
        def step(variables, image, category):
            out = cast(ForegroundOutput, encoder.apply(variables, image, category))
            return out.embedding, pattern_log_posterior(out.cosine, category, categories, scale=scale)

        return functools.partial(step, variables)

    @functools.cached_property
    def _query_step(self) -> Callable[..., tuple[jax.Array, ...]]:
        encoder = build_query_encoder(self._checked, self.table)
        config, table = self.config.query, self.table
        variables = jax.device_put(self.variables["query"])
        prototypes = self.prototypes if config.posterior == "prototypes" else None

        @jax.jit
        def step(variables, image, box, category):
            out = cast(QueryOutput, encoder.apply(variables, image, box, category))
            logits = out.pattern_logits if prototypes is None else out.embedding @ prototypes.T
            flat = pattern_log_posterior(logits, category, table.category_of_pattern, scale=config.flat_scale)
            if not self._has_factorised:
                return out.embedding, flat, flat, flat
            factorised = factorised_log_posterior(
                out.attribute_logits,
                category,
                category_of_pattern=table.category_of_pattern,
                attribute_group=table.attribute_group,
                has_value=table.has_value,
                scale=config.factorised_scale,
            )
            return out.embedding, flat, factorised, combined_log_posterior(flat, factorised)

        return functools.partial(step, variables)

    @property
    def _has_factorised(self) -> bool:
        query = self.config.query
        return bool(self.table.attribute_values) and query.posterior == "head" and query.uses_attributes

    def _need_query_encoder(self) -> None:
        if not self.has_query_encoder:
            raise InputError("bundle: it holds a foreground encoder alone, expected a query encoder too")

    def _checked_category(self, category: np.ndarray, num_rows: int) -> np.ndarray:
        category = np.asarray(category)
        if category.shape != (num_rows,) or not np.issubdtype(category.dtype, np.integer):
            raise InputError(f"category: {category.dtype} {list(category.shape)}, expected integers [{num_rows}]")
        if num_rows and not (category.min() >= 0 and category.max() < len(self.table.categories)):
            highest = len(self.table.categories) - 1
            raise InputError(f"category: {category.min()} to {category.max()}, expected class ids from 0 to {highest}")
        return category.astype(np.int32)


def load_bundle(path: str | Path) -> Bundle:
    """Loads a model bundle; needs nothing but the directory.

    Raises:
      InputError: not a bundle, damaged, or arrays that do not match its config (by name).

    Source: decision 18.
    """
    config, table, variables, metrics, fingerprint = read_bundle(path)
    return Bundle(config=config, table=table, variables=variables, metrics=metrics, fingerprint=fingerprint)


def _checked_image(image: np.ndarray, size: int, channels: int) -> np.ndarray:
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 4 or image.shape[1:] != (size, size, channels):
        raise InputError(
            f"image: {image.dtype} {list(image.shape)}, expected uint8 [n, {size}, {size}, {channels}] for this bundle"
        )
    return image


def _checked_box(box_yxyx_norm: np.ndarray, num_rows: int) -> np.ndarray:
    box = np.asarray(box_yxyx_norm, np.float32)
    if box.shape != (num_rows, 4):
        raise InputError(f"box_yxyx_norm: {list(box.shape)}, expected [{num_rows}, 4]")
    is_good = np.isfinite(box).all(1) & (box >= 0).all(1) & (box <= 1).all(1) & (box[:, :2] < box[:, 2:]).all(1)
    if not is_good.all():
        row = int(np.argmin(is_good))
        raise InputError(f"box_yxyx_norm: row {row} is {box[row].tolist()}, expected 0 <= low < high <= 1")
    return box


def _in_batches(
    step: Callable[..., tuple[jax.Array, ...]], arrays: tuple[np.ndarray, ...], batch_size: int, description: str
) -> list[np.ndarray]:
    if batch_size < 1:
        raise InputError(f"batch_size: {batch_size}, expected at least 1")
    # Fewer rows than a batch: the next power of two, so that a single query does not cost a whole batch.
    batch_size = min(batch_size, 1 << max(len(arrays[0]) - 1, 0).bit_length())
    return run_in_batches(step, arrays, batch_size=batch_size, description=description)
