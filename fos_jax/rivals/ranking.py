"""How well two jointly trained encoders rank the validation split, and the prototypes that they are given."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fos_jax.data.arrays import Foregrounds, Queries
from fos_jax.encoders.foreground import ForegroundEncoder
from fos_jax.encoders.query import QueryEncoder
from fos_jax.pattern_table import PatternTable
from fos_jax.posteriors import is_in_category, pattern_log_posterior
from fos_jax.training.calibrate import calibrated_scale
from fos_jax.training.model import Encoder
from fos_jax.training.student_task import QUERY_INPUTS, RankingMeasure
from fos_jax.training.teacher import pattern_targets

FOREGROUND_INPUTS = ("image", "category")
Split = tuple[Foregrounds, Queries]


class RivalValidation:
    """How well trained encoders rank the validation split, by cosine and by posterior over prototypes of their own.

    Args:
      encoders: of foregrounds and of queries; variables of both are handed to the methods.
      train_foregrounds: what prototypes are means of.
      validation: foregrounds and queries.
      table: pattern table.
      measure_ranking: mean average precision.
    """

    def __init__(
        self,
        encoders: tuple[ForegroundEncoder, QueryEncoder],
        train_foregrounds: Foregrounds,
        validation: Split,
        table: PatternTable,
        measure_ranking: RankingMeasure,
    ):
        self._encode_foregrounds = Encoder(encoders[0], FOREGROUND_INPUTS)
        self._encode_queries = Encoder(encoders[1], QUERY_INPUTS)
        self._train, (self._gallery, self._held), self._table = train_foregrounds, validation, table
        self._measure = measure_ranking
        valid = self._held.category[:, None] == self._gallery.category
        self._valid = valid & (self._gallery.pattern >= 0)
        self._relevant = self._held.is_compatible[:, self._gallery.pattern] & self._valid

    def cosine(self, foreground: Mapping[str, Any], query: Mapping[str, Any]) -> dict[str, float]:
        """mAP of the ranking by cosine, which is also the "score"."""
        gallery = self._foregrounds(foreground, self._gallery)
        found = self._measure(self._queries(query) @ gallery.T, self._relevant, self._valid)
        return {"map_cosine": found, "score": found}

    def posterior(
        self, foreground: Mapping[str, Any], query: Mapping[str, Any]
    ) -> tuple[np.ndarray, float, float, float]:
        """Prototypes [P, D], the two calibrated scales (foregrounds, queries), and the mAP by posterior."""
        held, gallery, table = self._held, self._gallery, self._table
        embedding = self._foregrounds(foreground, self._train, description="prototypes")
        no_posterior = np.zeros((len(embedding), table.num_patterns), np.float32)
        drawn = np.asarray(foreground["params"]["prototypes"])
        prototypes = pattern_targets(embedding, no_posterior, self._train.pattern, drawn)["target"]
        gallery_cosine = self._foregrounds(foreground, gallery) @ prototypes.T
        query_cosine = self._queries(query) @ prototypes.T
        truth = np.eye(table.num_patterns, dtype=np.float32)[gallery.pattern] * (gallery.pattern >= 0)[:, None]
        posterior_scale = calibrated_scale(gallery_cosine, self._in_category(gallery), truth)
        fits = held.is_compatible / np.maximum(held.is_compatible.sum(axis=1, keepdims=True), 1)
        flat_scale = calibrated_scale(query_cosine, self._in_category(held), fits.astype(np.float32))
        of_queries, of_gallery = (
            np.exp(pattern_log_posterior(x, split.category, table.category_of_pattern, scale=scale))
            for x, split, scale in ((query_cosine, held, flat_scale), (gallery_cosine, gallery, posterior_scale))
        )
        found = self._measure(of_queries @ of_gallery.T, self._relevant, self._valid)
        return prototypes, posterior_scale, flat_scale, found

    def _foregrounds(
        self, variables: Mapping[str, Any], foregrounds: Foregrounds, *, description: str = ""
    ) -> np.ndarray:
        arrays = {name: getattr(foregrounds, name) for name in FOREGROUND_INPUTS}
        return self._encode_foregrounds(variables, arrays, description=description)[0]

    def _queries(self, variables: Mapping[str, Any]) -> np.ndarray:
        return self._encode_queries(variables, {name: getattr(self._held, name) for name in QUERY_INPUTS})[0]

    def _in_category(self, split: Foregrounds | Queries) -> np.ndarray:
        return np.asarray(is_in_category(split.category, self._table.category_of_pattern))
