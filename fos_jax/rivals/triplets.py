"""Triplets: each query with each foreground known to fit it, against the other foregrounds and queries of the batch.

What fits a query is its own foreground, and further ones that a method finds (`cfo`, `ufo`). None of them is ever used
against it, however it came into the batch.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fos_jax import losses
from fos_jax.data.arrays import Foregrounds, Pairs, Queries
from fos_jax.data.batches import Rows, RowsOf
from fos_jax.encoders.foreground import ForegroundEncoder
from fos_jax.encoders.query import QueryEncoder
from fos_jax.errors import InputError
from fos_jax.pattern_table import PatternTable
from fos_jax.rivals.joint import Split, TrainingRows, encode_augmented, joint_task, padded_rows
from fos_jax.rivals.settings import NUMBER, checked, stage_config
from fos_jax.training import augment
from fos_jax.training.loop import Runner
from fos_jax.training.step import Gather, LossFunction, Metrics
from fos_jax.training.validation import QUERY_INPUTS


def positive_pairs(queries: Queries, further: Pairs | None = None) -> Pairs:
    """For each query its own foreground, then the further ones; none for a query without an own foreground.

    Raises:
      InputError: no query has an own foreground.
    """
    own = queries.foreground_index
    if not (own >= 0).any():
        raise InputError("data set: no query has its own foreground, expected some to train triplets on")
    found = [further.of(i) if further is not None else own[:0] for i in range(len(queries))]
    lists = [np.concatenate([own[i : i + 1], found[i]]) if own[i] >= 0 else own[:0] for i in range(len(queries))]
    return Pairs(np.cumsum([0, *map(len, lists)]), np.concatenate(lists).astype(np.int32))


def triplet_rows(foregrounds: Foregrounds, queries: Queries, further: Pairs | None = None) -> TrainingRows:
    """One training row for each query and foreground that fits it; arguments of the batch as `make_triplet_loss` says.

    Each row comes once per epoch, so a query with more positives is seen more often (decision 20).
    """
    pairs = positive_pairs(queries, further)
    query_row = np.repeat(np.arange(len(queries)), np.diff(pairs.offsets))
    arrays: dict[str, Rows] = {name: RowsOf(getattr(queries, name), query_row) for name in QUERY_INPUTS}
    arrays |= {
        "positive_image": RowsOf(foregrounds.image, pairs.rows),
        "positive_category": foregrounds.category[pairs.rows],
        "positive_row": pairs.rows,
        "fitting_rows": RowsOf(padded_rows(pairs), query_row),
    }
    return TrainingRows(arrays, queries.ids[query_row])


def make_triplet_loss(
    foreground_encoder: ForegroundEncoder,
    query_encoder: QueryEncoder,
    *,
    margin: float,
    same_category_only: bool = True,
    augmentation: augment.Augmentation = augment.NOTHING,
) -> LossFunction:
    """Loss of a batch: the queries' inputs, `positive_image`, `positive_category`, `positive_row`, `fitting_rows`.

    Both directions, averaged: a query, its positive and the other foregrounds; a foreground, its query and the others.

    Args:
      foreground_encoder, query_encoder: trained together; params are {"foreground": ..., "query": ...}.
      margin: in squared distance, 2 - 2 cos.
      same_category_only: whether negatives are of the row's category only, as in the search itself.
      augmentation: of queries and foregrounds.

    Raises:
      InputError: a margin that is not above 0.

    Source: Zhao et al., ECCV 2018 (hinge on distances; negatives are foregrounds or backgrounds of the batch; box
    jitter); the mean over all negatives of the batch, both directions at once and the rest are choices (decision 20).
    """
    if not margin > 0:
        raise InputError(f"config: triplets.margin: {margin!r}, expected more than 0")

    def loss_function(
        params: Any, batch_stats: Any, batch: Mapping[str, jax.Array], keys: jax.Array, constants: Any, gather: Gather
    ) -> tuple[jax.Array, tuple[Metrics, Any]]:
        del constants
        encoders = foreground_encoder, query_encoder
        of_query, of_foreground, stats = encode_augmented(encoders, params, batch_stats, batch, keys, augmentation)
        names = ("category", "weight", "positive_category", "positive_row", "fitting_rows")
        query, positive, category, weight, positive_category, positive_row, fitting = gather(
            (of_query.embedding, of_foreground.embedding, *(batch[name] for name in names))
        )
        cosine = query @ positive.T  # [B, B], query by foreground
        own = jnp.diagonal(cosine)
        fits = (fitting[:, :, None] == positive_row[None, None, :]).any(axis=1)  # [B, B]
        is_pair = ~fits & (weight > 0)[:, None] & (weight > 0)[None, :]
        if same_category_only:
            is_pair &= category[:, None] == positive_category[None, :]
        forth = losses.weighted_mean(losses.triplet(own, cosine, is_pair, margin=margin), weight)
        back = losses.weighted_mean(losses.triplet(own, cosine.T, is_pair.T, margin=margin), weight)
        is_violated = is_pair & (2.0 * (cosine - own[:, None]) + margin > 0)
        metrics = {"violated": jnp.sum(is_violated) / jnp.maximum(jnp.sum(is_pair), 1)}
        return (forth + back) / 2, (metrics, stats)

    return loss_function


def train_on_triplets(
    config: Any,
    train_split: Split,
    validation: Split,
    table: PatternTable,
    workdir: Path,
    run: Runner,
    *,
    num_steps: int,
    further: Pairs | None = None,
    variables: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One stage on triplets: trains both encoders, writes `<workdir>/bundle` and returns the variables.

    Args:
      config: of the run, with `triplets` and `augment`.
      train_split, validation: foregrounds and queries. table: pattern table.
      workdir: of the stage. run: trains it.
      num_steps: of this stage.
      further: positives beside the own foregrounds.
      variables: to start from; drawn anew where None.
    """
    task = joint_task(
        config,
        train_split,
        validation,
        table,
        rows=triplet_rows(*train_split, further),
        make_loss=lambda *encoders: make_triplet_loss(
            *encoders,
            augmentation=augment.from_config(config.augment),
            **checked(config.triplets, "triplets", margin=NUMBER, same_category_only=bool),
        ),
        bundle_path=workdir / "bundle",
        axis_name=run.axis_name,
    )
    if variables is not None:
        task = dataclasses.replace(task, variables=variables)
    return run(task, stage_config(config, num_steps=num_steps), workdir)
