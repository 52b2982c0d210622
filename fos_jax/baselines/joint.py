"""What methods that train two encoders jointly share: variables, validation, prototypes of their own, the bundle.

A method brings its training rows and its loss; everything else is the same for all, so that they differ in nothing
but their idea. After training, the patterns' prototypes become the means of their training foregrounds, so that such a
model can rank by pattern posterior as well.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fos_jax.data.arrays import Foregrounds, Pairs, Queries, fingerprint
from fos_jax.data.batches import Rows
from fos_jax.encoders.build import build_foreground_encoder, build_query_encoder, init_foreground, init_query
from fos_jax.encoders.bundle import save_bundle
from fos_jax.encoders.foreground import ForegroundEncoder, ForegroundOutput
from fos_jax.encoders.posteriors import is_in_category, pattern_log_posterior
from fos_jax.encoders.query import QueryEncoder, QueryOutput
from fos_jax.pattern_table import PatternTable
from fos_jax.training import augment
from fos_jax.training.calibrate import calibrated_scale
from fos_jax.training.loop import Task
from fos_jax.training.model import Encoder, apply_for_training
from fos_jax.training.step import LossFunction
from fos_jax.training.student_task import QUERY_INPUTS, RankingMeasure
from fos_jax.training.teacher import pattern_targets

FOREGROUND_INPUTS = ("image", "category")
Split = tuple[Foregrounds, Queries]


@dataclasses.dataclass(frozen=True)
class TrainingRows:
    """What a method trains on: arrays aligned by row, and the names of the rows for messages."""

    arrays: Mapping[str, Rows]
    ids: np.ndarray


def build_encoders(
    config: Any, table: PatternTable, *, axis_name: str | None = None
) -> tuple[ForegroundEncoder, QueryEncoder]:
    """The two encoders that a config's `foreground` and `query` describe."""
    models = _models(config)
    return (
        build_foreground_encoder(models, table, axis_name=axis_name),
        build_query_encoder(models, table, axis_name=axis_name),
    )


def encode_augmented(
    foreground_encoder: ForegroundEncoder,
    query_encoder: QueryEncoder,
    params: Any,
    batch_stats: Any,
    batch: Mapping[str, jax.Array],
    foreground_image: jax.Array,
    foreground_category: jax.Array,
    keys: jax.Array,
    *,
    mirror_probability: float,
    box_expansion: float,
    jitter: augment.ColourJitter,
) -> tuple[QueryOutput, ForegroundOutput, dict[str, Any]]:
    """Both encoders' outputs of a batch's queries and of the foregrounds beside them, after augmentation.

    Args:
      params, batch_stats: {"foreground": ..., "query": ...}; batch statistics may be empty.
      batch: with the queries' inputs.
      foreground_image: uint8 [B, S, S, 4].
      foreground_category: int32 [B].
      keys: PRNG keys [B].
      mirror_probability: of showing query and foreground both mirrored.
      box_expansion: largest growth of the rectangle at each side, in lengths of it.
      jitter: ranges of colour jitter, drawn apart for query and foreground.

    Returns:
      The two outputs, and the new batch statistics of those encoders that have any.
    """
    flip_keys, box_keys, query_keys, foreground_keys = augment.split_keys(keys, 4)
    image, box, foreground = augment.mirror_pairs(
        batch["image"], batch["box_yxyx_norm"], foreground_image, flip_keys, probability=mirror_probability
    )
    box = augment.expand_boxes(box, box_keys, largest=box_expansion)
    image = augment.jitter_colours(image, query_keys, jitter)
    foreground = augment.jitter_colours(foreground, foreground_keys, jitter)
    of_query, query_stats = apply_for_training(
        query_encoder, params["query"], batch_stats.get("query", {}), image, box, batch["category"]
    )
    of_foreground, foreground_stats = apply_for_training(
        foreground_encoder, params["foreground"], batch_stats.get("foreground", {}), foreground, foreground_category
    )
    stats = {"foreground": foreground_stats, "query": query_stats}
    return of_query, of_foreground, {name: value for name, value in stats.items() if value}


def init_encoders(config: Any, table: PatternTable) -> dict[str, Any]:
    """Initial variables of both: collection -> {"foreground": ..., "query": ...}, from `config.seed`."""
    models = _models(config)
    made = {
        "foreground": init_foreground(jax.random.key(config.seed), models, table),
        "query": init_query(jax.random.key(config.seed + 1), models, table),
    }
    return {
        collection: {name: variables[collection] for name, variables in made.items() if collection in variables}
        for collection in ("params", "batch_stats")
    }


def part_of(trained: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Variables of one of the two encoders."""
    return {collection: tree[name] for collection, tree in trained.items() if name in tree}


def padded_rows(pairs: Pairs) -> np.ndarray:
    """int32 [n, longest]: each query's foreground rows, filled up with -2 (no row, nor "none")."""
    count = np.diff(pairs.offsets)
    out = np.full((len(pairs), max(count.max(initial=0), 1)), -2, np.int32)
    out[np.arange(out.shape[1])[None, :] < count[:, None]] = pairs.rows
    return out


def input_fingerprints(train: Split, validation: Split, table: PatternTable) -> dict[str, str]:
    """`Task.inputs` of both splits and the pattern table."""
    return {
        "train": f"{fingerprint(train[0])}-{fingerprint(train[1])}",
        "validation": f"{fingerprint(validation[0])}-{fingerprint(validation[1])}",
        "patterns": table.fingerprint(),
    }


def joint_task(
    config: Any,
    train: Split,
    validation: Split,
    table: PatternTable,
    *,
    rows: TrainingRows,
    make_loss: Callable[[ForegroundEncoder, QueryEncoder], LossFunction],
    bundle_path: str | Path,
    measure_ranking: RankingMeasure,
    axis_name: str | None = None,
) -> Task:
    """The task of training both encoders jointly; it writes a bundle like any student's.

    Args:
      config: with `seed`, `foreground` and `query`.
      train, validation: foregrounds and queries.
      table: pattern table; only prototypes and validation read patterns.
      rows: what the loss is given in batches.
      make_loss: of the two encoders; params are {"foreground": ..., "query": ...}.
      bundle_path: where the bundle goes.
      measure_ranking: mean average precision; the best checkpoint is chosen by it (cosine).
      axis_name: `parallelism.AXIS` when it will run under pmap, else None.

    Source: design decision.
    """
    foreground_encoder, query_encoder = build_encoders(config, table, axis_name=axis_name)
    measure = _Ranking((foreground_encoder, query_encoder), train[0], validation, table, measure_ranking)

    def finish(trained: dict[str, Any], metrics: dict[str, float]) -> None:
        foreground, query = part_of(trained, "foreground"), part_of(trained, "query")
        prototypes, posterior_scale, flat_scale, by_posterior = measure.posterior(foreground, query)
        resolved = config.to_dict()
        resolved["foreground"]["posterior_scale"] = posterior_scale
        resolved["query"] |= {"posterior": "prototypes", "flat_scale": flat_scale}
        save_bundle(
            bundle_path,
            config=resolved,
            table=table,
            foreground_variables={**foreground, "params": {**foreground["params"], "prototypes": prototypes}},
            query_variables=query,
            metrics={"validation": {**metrics, "map_flat": by_posterior}},
        )

    return Task(
        variables=init_encoders(config, table),
        loss_function=make_loss(foreground_encoder, query_encoder),
        constants={},
        arrays=rows.arrays,
        ids=rows.ids,
        validate=measure.cosine,
        finish=finish,
        inputs=input_fingerprints(train, validation, table),
    )


class _Ranking:
    """How well trained encoders rank the validation split, by cosine and by posterior over prototypes of their own."""

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

    def cosine(self, trained: dict[str, Any]) -> dict[str, float]:
        """mAP of the ranking by cosine, which is also the "score"."""
        gallery = self._foregrounds(part_of(trained, "foreground"), self._gallery)
        found = self._measure(self._queries(part_of(trained, "query")) @ gallery.T, self._relevant, self._valid)
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


def _models(config: Any) -> dict[str, Any]:
    return {"foreground": config.foreground.to_dict(), "query": config.query.to_dict()}
