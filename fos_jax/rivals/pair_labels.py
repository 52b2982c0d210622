"""Two streams trained from labels of pairs, where there are no patterns: what fits a query, and what does not.

As `two_streams`, a softmax over a batch's foregrounds; but the positive is drawn from all foregrounds that are labelled
as fitting, each query brings one that is labelled as not fitting, and no foreground that fits a query is ever used
against it, however it came into the batch. One row of training is a triple: every query with every foreground that fits
it, once an epoch.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from fos_jax import losses
from fos_jax.data.arrays import Foregrounds, Pairs, Queries
from fos_jax.data.batches import Rows, RowsOf
from fos_jax.encoders.bundle import save_bundle
from fos_jax.encoders.foreground import ForegroundEncoder
from fos_jax.encoders.query import QueryEncoder
from fos_jax.errors import InputError
from fos_jax.pattern_table import PatternTable
from fos_jax.rivals.joint import (
    apply_both,
    build_encoders,
    frozen_of_both,
    init_encoders,
    input_fingerprints,
    padded_rows,
    part_of,
)
from fos_jax.training import augment
from fos_jax.training.loop import Task
from fos_jax.training.step import Gather, LossFunction, Metrics
from fos_jax.training.validation import QUERY_INPUTS, Encoder, mean_average_precision


def label_triples(queries: Queries) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every query with every foreground that fits it, and one that does not.

    A query's unfitting foregrounds take turns over its triples.

    Returns:
      int32 [t] each: row of the query, row of the foreground that fits, row of the one that does not (-1 for none).

    Raises:
      InputError: no query has a foreground that is labelled as fitting.
    """
    if queries.relevant is None or not len(queries.relevant.rows):
        raise InputError("data set: no query has a foreground labelled as fitting, expected labels by pairs")
    count = np.diff(queries.relevant.offsets)
    query = np.repeat(np.arange(len(queries)), count)
    turn = np.arange(len(query)) - queries.relevant.offsets[query]
    negative = np.full(len(query), -1)
    if queries.irrelevant is not None:
        choices = np.diff(queries.irrelevant.offsets)[query]
        has_choice = np.flatnonzero(choices)
        at = queries.irrelevant.offsets[query[has_choice]] + turn[has_choice] % choices[has_choice]
        negative[has_choice] = queries.irrelevant.rows[at]
    return query.astype(np.int32), queries.relevant.rows.astype(np.int32), negative.astype(np.int32)


def make_pair_loss(
    foreground_encoder: ForegroundEncoder,
    query_encoder: QueryEncoder,
    *,
    scale: float,
    same_category_only: bool = True,
    augmentation: augment.Augmentation = augment.NOTHING,
) -> LossFunction:
    """Loss of a batch of triples: the queries' inputs, `positive_image`, `negative_image`, their rows, `fitting_rows`.

    Args:
      foreground_encoder, query_encoder: trained together; params are {"foreground": ..., "query": ...}.
      scale: inverse temperature of the softmax.
      same_category_only: whether other rows' foregrounds count only within the query's category; its own always do.
      augmentation: of queries and foregrounds; nothing is mirrored, for labels of pairs do not speak of that.

    Source: van den Oord et al., 2018 (loss); labels as in FOSD's lists (docs/field.md); decision 20.
    """

    def loss_function(
        params: Any, batch_stats: Any, batch: Mapping[str, jax.Array], keys: jax.Array, constants: Any, gather: Gather
    ) -> tuple[jax.Array, tuple[Metrics, Any]]:
        del constants
        box_keys, query_keys, positive_keys, negative_keys = augment.split_keys(keys, 4)
        box = augment.expand_boxes(batch["box_yxyx_norm"], box_keys, largest=augmentation.box_expansion)
        image = augment.jitter_colours(batch["image"], query_keys, augmentation.jitter)
        both = jnp.concatenate(
            [
                augment.jitter_colours(batch["positive_image"], positive_keys, augmentation.jitter),
                augment.jitter_colours(batch["negative_image"], negative_keys, augmentation.jitter),
            ]
        )  # [2B, S, S, 4]
        encoders, queries = (foreground_encoder, query_encoder), (image, box, batch["category"])
        of_query, of_both, stats = apply_both(encoders, params, batch_stats, queries, (both,))
        positive, negative = jnp.split(of_both.embedding, 2)
        names = ("category", "weight", "positive_row", "negative_row", "fitting_rows")
        query, positive, negative, category, weight, positive_row, negative_row, fitting = gather(
            (of_query.embedding, positive, negative, *(batch[name] for name in names))
        )
        own = jnp.arange(len(weight))
        candidate_row = jnp.concatenate([positive_row, negative_row])  # [2B]
        is_there = jnp.concatenate([weight > 0, (weight > 0) & (negative_row >= 0)])
        is_same = jnp.tile(category[:, None] == category[None, :], (1, 2)) | (not same_category_only)
        is_own_negative = jnp.arange(2 * len(own))[None, :] == own[:, None] + len(own)
        fits = (fitting[:, :, None] == candidate_row[None, None, :]).any(axis=1)  # [B, 2B]
        is_candidate = is_there[None, :] & (is_same | is_own_negative) & ~fits
        candidates = jnp.concatenate([positive, negative])
        loss = losses.weighted_mean(losses.info_nce(query, candidates, own, is_candidate, scale=scale), weight)
        is_known = weight * (negative_row >= 0)
        above = jnp.sum(query * positive, axis=1) > jnp.sum(query * negative, axis=1)
        metrics = {"positive_above_negative": losses.weighted_mean(above, is_known)}
        return loss, (metrics, stats)

    return loss_function


def pair_label_task(
    config: Any,
    train: tuple[Foregrounds, Queries],
    validation: tuple[Foregrounds, Queries],
    table: PatternTable,
    *,
    bundle_path: str | Path,
    axis_name: str | None = None,
) -> Task:
    """The task of training both encoders from labels of pairs; arguments and bundle as of `two_streams_task`."""
    foregrounds, queries = train
    held_foregrounds, held = validation
    if held.relevant is None:
        raise InputError("data set, split validation: no query has a foreground labelled as fitting")
    query_row, positive_row, negative_row = label_triples(queries)
    foreground_encoder, query_encoder = build_encoders(config, table, axis_name=axis_name)
    arrays: dict[str, Rows] = {name: RowsOf(getattr(queries, name), query_row) for name in QUERY_INPUTS}
    arrays |= {
        "positive_image": RowsOf(foregrounds.image, positive_row),
        "negative_image": RowsOf(foregrounds.image, np.maximum(negative_row, 0)),
        "positive_row": positive_row,
        "negative_row": negative_row,
        "fitting_rows": RowsOf(padded_rows(cast(Pairs, queries.relevant)), query_row),
    }
    encode_foregrounds, encode_queries = Encoder(foreground_encoder, ("image",)), Encoder(query_encoder, QUERY_INPUTS)
    held_inputs = {name: getattr(held, name) for name in QUERY_INPUTS}
    valid = held.category[:, None] == held_foregrounds.category
    relevant = held.relevant.is_pair(np.arange(len(held)), np.arange(len(held_foregrounds))) & valid

    def validate(trained: dict[str, Any]) -> dict[str, float]:
        gallery = encode_foregrounds(part_of(trained, "foreground"), {"image": held_foregrounds.image})[0]
        found = mean_average_precision(
            encode_queries(part_of(trained, "query"), held_inputs)[0] @ gallery.T, relevant, valid
        )
        return {"map_cosine": found, "score": found}

    def finish(trained: dict[str, Any], metrics: dict[str, float]) -> None:
        save_bundle(
            bundle_path,
            config=config.to_dict(),
            table=table,
            foreground_variables=part_of(trained, "foreground"),
            query_variables=part_of(trained, "query"),
            metrics={"validation": metrics},
        )

    variables = init_encoders(config, table)
    return Task(
        variables=variables,
        loss_function=make_pair_loss(
            foreground_encoder,
            query_encoder,
            augmentation=augment.from_config(config.augment),
            **config.two_stream,
        ),
        constants={},
        arrays=arrays,
        ids=queries.ids[query_row],
        validate=validate,
        finish=finish,
        inputs=input_fingerprints(train, validation, table),
        frozen=frozen_of_both(variables, config),
    )
