"""Joint training of two encoders: variables, validation, prototypes of their own, the bundle.

A rival brings its training rows and its loss; everything else is the same for all, so that they differ in nothing
but their idea. After training, the patterns' prototypes become the means of their training foregrounds, so that such a
model can rank by pattern posterior as well.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fos_jax import losses
from fos_jax.data.arrays import Foregrounds, Pairs, Queries, fingerprint
from fos_jax.data.batches import Rows
from fos_jax.encoders.build import build_foreground_encoder, build_query_encoder, init_foreground, init_query
from fos_jax.encoders.bundle import save_bundle
from fos_jax.encoders.foreground import ForegroundEncoder, ForegroundOutput
from fos_jax.encoders.query import QueryEncoder, QueryOutput
from fos_jax.encoders.tuning import ArrayPath, frozen_arrays
from fos_jax.pattern_table import PatternTable
from fos_jax.training import augment
from fos_jax.training.loop import Task
from fos_jax.training.step import LossFunction, apply_for_training
from fos_jax.training.targets import pattern_targets
from fos_jax.training.validation import FOREGROUND_INPUTS, QUERY_INPUTS, Encoder, HeldOut

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


def apply_both(
    encoders: tuple[ForegroundEncoder, QueryEncoder],
    params: Any,
    batch_stats: Any,
    query_inputs: tuple[jax.Array, ...],
    foreground_inputs: tuple[jax.Array, ...],
) -> tuple[QueryOutput, ForegroundOutput, dict[str, Any]]:
    """Both encoders' outputs in training, and the new batch statistics of those encoders that have any.

    Args:
      encoders: of foregrounds and of queries.
      params, batch_stats: {"foreground": ..., "query": ...}; batch statistics may be empty.
      query_inputs: image uint8 [B, S, S, 3], box float32 [B, 4], category int32 [B].
      foreground_inputs: image uint8 [G, S, S, 4] and, where the encoder fuses it, category int32 [G].
    """

    def apply(encoder: Any, name: str, inputs: tuple[jax.Array, ...]) -> tuple[Any, Any]:
        return apply_for_training(encoder, params[name], batch_stats.get(name, {}), *inputs)

    of_query, query_stats = apply(encoders[1], "query", query_inputs)
    of_foreground, foreground_stats = apply(encoders[0], "foreground", foreground_inputs)
    stats = {"foreground": foreground_stats, "query": query_stats}
    return of_query, of_foreground, {name: value for name, value in stats.items() if value}


def encode_augmented(
    encoders: tuple[ForegroundEncoder, QueryEncoder],
    params: Any,
    batch_stats: Any,
    batch: Mapping[str, jax.Array],
    keys: jax.Array,
    augmentation: augment.Augmentation,
) -> tuple[QueryOutput, ForegroundOutput, dict[str, Any]]:
    """`apply_both` of a batch's queries and of the positives beside them, after augmentation.

    Args:
      encoders, params, batch_stats: as of `apply_both`.
      batch: the queries' inputs, `positive_image` uint8 [B, S, S, 4] and `positive_category` int32 [B].
      keys: random keys [B].
      augmentation: of queries and foregrounds.
    """
    image, box, foreground = augment.augment_pairs(
        batch["image"], batch["box_yxyx_norm"], batch["positive_image"], keys, augmentation
    )
    queries, foregrounds = (image, box, batch["category"]), (foreground, batch["positive_category"])
    return apply_both(encoders, params, batch_stats, queries, foregrounds)


def init_encoders(config: Any, table: PatternTable) -> dict[str, Any]:
    """Initial variables of both: collection -> {"foreground": ..., "query": ...}, from `config.seed`."""
    models = _models(config)
    return _joined(
        {},
        {
            "foreground": init_foreground(jax.random.key(config.seed), models, table),
            "query": init_query(jax.random.key(config.seed + 1), models, table),
        },
    )


def part_of(trained: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Variables of one of the networks."""
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


class RivalValidation:
    """Measures two encoders on the validation split: ranking by cosine, and by posterior over prototypes of their own.

    Args:
      encoders: of foregrounds and of queries; variables of both are handed to the methods.
      train_foregrounds: what prototypes are means of.
      held_out: the validation split.
      table: pattern table.
    """

    def __init__(
        self,
        encoders: tuple[ForegroundEncoder, QueryEncoder],
        train_foregrounds: Foregrounds,
        held_out: HeldOut,
        table: PatternTable,
    ):
        self._encode_foregrounds = Encoder(encoders[0], FOREGROUND_INPUTS)
        self._encode_queries = Encoder(encoders[1], QUERY_INPUTS)
        self._train, self._held_out, self._table = train_foregrounds, held_out, table

    def cosine(self, foreground: Mapping[str, Any], query: Mapping[str, Any]) -> dict[str, float]:
        """mAP of the ranking by cosine, which is also the "score"."""
        gallery = self._foregrounds(foreground, self._held_out.foregrounds)
        found = self._held_out.map(self._queries(query) @ gallery.T)
        return {"map_cosine": found, "score": found}

    def posterior(
        self, foreground: Mapping[str, Any], query: Mapping[str, Any]
    ) -> tuple[np.ndarray, float, float, float]:
        """Prototypes [P, D], the two calibrated scales (foregrounds, queries), and the mAP by posterior."""
        held_out = self._held_out
        embedding = self._foregrounds(foreground, self._train, description="prototypes")
        prototypes = mean_prototypes(
            embedding, self._train.pattern, self._table, empty=np.asarray(foreground["params"]["prototypes"])
        )
        gallery_cosine = self._foregrounds(foreground, held_out.foregrounds) @ prototypes.T
        query_cosine = self._queries(query) @ prototypes.T
        posterior_scale, flat_scale = held_out.foreground_scale(gallery_cosine), held_out.query_scale(query_cosine)
        of_queries = np.exp(held_out.log_posterior(query_cosine, held_out.queries, scale=flat_scale))
        of_gallery = np.exp(held_out.log_posterior(gallery_cosine, held_out.foregrounds, scale=posterior_scale))
        return prototypes, posterior_scale, flat_scale, held_out.map(of_queries @ of_gallery.T)

    def _foregrounds(
        self, variables: Mapping[str, Any], foregrounds: Foregrounds, *, description: str = ""
    ) -> np.ndarray:
        arrays = {name: getattr(foregrounds, name) for name in FOREGROUND_INPUTS}
        return self._encode_foregrounds(variables, arrays, description=description)[0]

    def _queries(self, variables: Mapping[str, Any]) -> np.ndarray:
        arrays = {name: getattr(self._held_out.queries, name) for name in QUERY_INPUTS}
        return self._encode_queries(variables, arrays)[0]


def mean_prototypes(
    embedding: np.ndarray, pattern: np.ndarray, table: PatternTable, *, empty: np.ndarray
) -> np.ndarray:
    """float32 [P, D]: unit mean of each pattern's members, from [n, D] and int32 [n]; `empty` [P, D] where it has none.

    Source: decision 10.
    """
    unread = np.zeros((len(embedding), table.num_patterns), np.float32)
    return pattern_targets(embedding, unread, pattern, empty)["target"]


def save_rival(
    bundle_path: str | Path,
    config: Any,
    table: PatternTable,
    measure: RivalValidation,
    foreground: Mapping[str, Any],
    query: Mapping[str, Any],
    metrics: Mapping[str, float],
    *,
    pair_variables: Mapping[str, Any] | None = None,
) -> None:
    """Writes a rival's bundle, with prototypes of its own so that it can rank by posterior too.

    Args:
      bundle_path: where it goes. config: resolved. table: pattern table.
      measure: finds prototypes and scales. foreground, query: variables of the two encoders.
      metrics: on the validation split; `map_flat` is added.
      pair_variables: of networks that judge pairs, by name.
    """
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
        pair_variables=pair_variables or {},
        metrics={"validation": {**metrics, "map_flat": by_posterior}},
    )


def joint_task(
    config: Any,
    train: Split,
    validation: Split,
    table: PatternTable,
    *,
    rows: TrainingRows,
    make_loss: Callable[[ForegroundEncoder, QueryEncoder], LossFunction],
    bundle_path: str | Path,
    axis_name: str | None = None,
    trained_too: Mapping[str, Any] | None = None,
    frozen: Mapping[str, Any] | None = None,
) -> Task:
    """The task of training both encoders jointly; it writes a bundle like any student's.

    Args:
      config: with `seed`, `foreground` and `query`.
      train, validation: foregrounds and queries.
      table: pattern table; only prototypes and validation read patterns.
      rows: what the loss is given in batches.
      make_loss: of the two encoders; params are {"foreground": ..., "query": ...}, and those of `trained_too`.
      bundle_path: where the bundle goes.
      axis_name: `parallelism.AXIS` when it will run under pmap, else None.
      trained_too: initial variables of networks that judge pairs, by name (`rivals.pair_networks`).
      frozen: variables of such networks that the bundle holds as they are; the loss finds them in its constants.
    """
    foreground_encoder, query_encoder = build_encoders(config, table, axis_name=axis_name)
    trained_too, frozen = trained_too or {}, frozen or {}
    measure = RivalValidation((foreground_encoder, query_encoder), train[0], HeldOut(*validation, table), table)

    def finish(trained: dict[str, Any], metrics: dict[str, float]) -> None:
        foreground, query = part_of(trained, "foreground"), part_of(trained, "query")
        pairs = {**{name: part_of(trained, name) for name in trained_too}, **frozen}
        save_rival(bundle_path, config, table, measure, foreground, query, metrics, pair_variables=pairs)

    variables = init_encoders(config, table)
    return Task(
        variables=_joined(variables, trained_too),
        loss_function=make_loss(foreground_encoder, query_encoder),
        constants=dict(frozen),
        arrays=rows.arrays,
        ids=rows.ids,
        validate=lambda trained: measure.cosine(part_of(trained, "foreground"), part_of(trained, "query")),
        finish=finish,
        inputs=input_fingerprints(train, validation, table),
        frozen=frozen_of_both(variables, config),
    )


def frozen_of_both(variables: Mapping[str, Any], config: Any) -> frozenset[ArrayPath]:
    """Paths of the arrays of both encoders, from `init_encoders`, that a config's `tuned` fields freeze."""
    params = variables["params"]
    both = (frozen_arrays(params[name], fields, inside=(name,)) for name, fields in _models(config).items())
    return frozenset().union(*both)


def _joined(variables: Mapping[str, Any], more: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Collection -> name -> arrays, of variables in that form and of more of them by name."""
    return {
        collection: {
            **variables.get(collection, {}),
            **{name: of[collection] for name, of in more.items() if collection in of},
        }
        for collection in ("params", "batch_stats")
    }


def _models(config: Any) -> dict[str, Any]:
    return {"foreground": config.foreground.to_dict(), "query": config.query.to_dict()}


def pair_cross_entropy(logit: jax.Array, is_true: jax.Array, is_pair: jax.Array) -> jax.Array:
    """Binary cross-entropy, the mean over true pairs and the mean over false ones counting alike.

    Args:
      logit: float [Q, G].
      is_true: bool [Q, G].
      is_pair: bool [Q, G], pairs that take part: no padding.

    Returns:
      float32 scalar; a side without pairs counts 0.

    One true pair per row would otherwise drown.
    """
    true = losses.weighted_mean(jax.nn.softplus(-logit), is_true & is_pair)
    false = losses.weighted_mean(jax.nn.softplus(logit), ~is_true & is_pair)
    return (true + false) / 2
