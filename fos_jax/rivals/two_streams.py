"""Two streams trained jointly, without distillation: compositing-aware search in its strongest form known here.

CFO-Search (Zhao et al., ECCV 2018) trains a background and a foreground encoder together; the query's own foreground is
the positive, other foregrounds the negatives, and no pattern label is used. Here a softmax over the batch's negatives
of the same category, in both directions, takes the place of its triplets, because it did better; backbones, inputs,
data, augmentation and the loop are those of the student.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fos_jax import losses
from fos_jax.data.arrays import Foregrounds, Queries
from fos_jax.data.batches import Rows, RowsOf
from fos_jax.encoders.foreground import ForegroundEncoder
from fos_jax.encoders.query import QueryEncoder
from fos_jax.errors import InputError
from fos_jax.pattern_table import PatternTable
from fos_jax.rivals.joint import TrainingRows, encode_augmented, joint_task
from fos_jax.training import augment
from fos_jax.training.loop import Task
from fos_jax.training.step import Gather, LossFunction, Metrics
from fos_jax.training.validation import QUERY_INPUTS


def make_two_streams_loss(
    foreground_encoder: ForegroundEncoder,
    query_encoder: QueryEncoder,
    *,
    scale: float,
    same_category_only: bool = True,
    augmentation: augment.Augmentation = augment.NOTHING,
) -> LossFunction:
    """Loss of a batch of queries with their own foregrounds: those of distillation and the positives'.

    Args:
      foreground_encoder, query_encoder: trained together; params are {"foreground": ..., "query": ...}.
      scale: inverse temperature of the softmax.
      same_category_only: whether negatives are of the row's category only, as in the search itself.
      augmentation: of queries and foregrounds.

    Source: Zhao et al., ECCV 2018 (task, positives, negatives); van den Oord et al., 2018 (loss); symmetric as in
    Radford et al., ICML 2021.
    """

    def loss_function(
        params: Any, batch_stats: Any, batch: Mapping[str, jax.Array], keys: jax.Array, constants: Any, gather: Gather
    ) -> tuple[jax.Array, tuple[Metrics, Any]]:
        del constants
        encoders = foreground_encoder, query_encoder
        of_query, of_foreground, stats = encode_augmented(encoders, params, batch_stats, batch, keys, augmentation)
        query, candidate, category, weight = gather(
            (of_query.embedding, of_foreground.embedding, batch["category"], batch["weight"])
        )
        own = jnp.arange(len(weight))
        is_candidate = jnp.broadcast_to(weight > 0, (len(weight), len(weight)))
        if same_category_only:
            is_candidate &= category[:, None] == category[None, :]
        forth = losses.weighted_mean(losses.info_nce(query, candidate, own, is_candidate, scale=scale), weight)
        back = losses.weighted_mean(losses.info_nce(candidate, query, own, is_candidate, scale=scale), weight)
        similarity = jnp.where(is_candidate, query @ candidate.T, -jnp.inf)
        found = losses.weighted_mean(jnp.argmax(similarity, axis=1) == own, weight)
        return (forth + back) / 2, ({"own_found": found}, stats)

    return loss_function


def two_streams_task(
    config: Any,
    train: tuple[Foregrounds, Queries],
    validation: tuple[Foregrounds, Queries],
    table: PatternTable,
    *,
    bundle_path: str | Path,
    axis_name: str | None = None,
) -> Task:
    """The task of training both encoders jointly; it writes a bundle like any student's.

    Args:
      config: with `seed`, `foreground`, `query`, `two_streams` (arguments of the loss) and `augment`.
      train, validation: foregrounds and queries; training queries without an own foreground are left out.
      table: pattern table; only its prototypes and validation read patterns.
      bundle_path: where the bundle goes.
      axis_name: `parallelism.AXIS` when it will run under pmap, else None.

    Raises:
      InputError: no training query has an own foreground.
    """
    foregrounds, queries = train
    rows = np.flatnonzero(queries.foreground_index >= 0)
    if not len(rows):
        raise InputError("data set, split train: no query has its own foreground, expected some for two streams")
    arrays: dict[str, Rows] = {name: RowsOf(getattr(queries, name), rows) for name in QUERY_INPUTS}
    own = queries.foreground_index[rows]
    arrays |= {"positive_image": RowsOf(foregrounds.image, own), "positive_category": foregrounds.category[own]}
    return joint_task(
        config,
        train,
        validation,
        table,
        rows=TrainingRows(arrays, queries.ids[rows]),
        make_loss=lambda *encoders: make_two_streams_loss(
            *encoders,
            augmentation=augment.from_config(config.augment),
            **config.two_stream,
        ),
        bundle_path=bundle_path,
        axis_name=axis_name,
    )
