"""DiscoFOS's pairs, a query with its own foreground and with others of the category, and the teacher trained on them.

The teacher is a discriminator of composites. A query with its own foreground pasted is true; with foregrounds of other
queries of the batch, drawn anew each step, it is false. No pattern label is read.
"""

from collections.abc import Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from fos_jax import losses
from fos_jax.errors import InputError
from fos_jax.pattern_table import PatternTable
from fos_jax.rivals.composite import CompositeDiscriminator, PairOutput
from fos_jax.rivals.joint import Split, input_fingerprints, pair_cross_entropy
from fos_jax.rivals.pair_networks import COMPOSITE, build_composite, init_pair_network
from fos_jax.rivals.triplets import triplet_rows
from fos_jax.training import augment
from fos_jax.training.loop import Task
from fos_jax.training.step import Gather, LossFunction, Metrics, apply_for_training

_HELD_PAIRS = 256  # validation queries that the discriminator is measured on


def drawn_negatives(
    keys: jax.Array,
    batch: Mapping[str, jax.Array],
    candidates: Mapping[str, jax.Array],
    *,
    number: int,
) -> tuple[jax.Array, jax.Array]:
    """For each row other queries' foregrounds of its category, drawn without replacement.

    Args:
      keys: random keys [B].
      batch: `category` int32 [B] of the queries, `positive_row` int32 [B], and `weight` float32 [B].
      candidates: `positive_category`, `positive_row`, `weight` of all N rows that foregrounds may be taken from.
      number: n of negatives a row, at most N.

    Returns:
      int32 [B, n] rows among the candidates, and bool [B, n]: False where there are too few.

    Source: DiscoFOS (Zhang et al., ICCV 2023): incompatible pairs; that they are drawn from the batch is a design
    decision, as is the category: every ranking stays inside it.
    """
    is_open = batch["category"][:, None] == candidates["positive_category"][None, :]
    is_open &= batch["positive_row"][:, None] != candidates["positive_row"][None, :]
    is_open &= (batch["weight"] > 0)[:, None] & (candidates["weight"] > 0)[None, :]
    drawn = jax.vmap(lambda key: jax.random.uniform(key, (is_open.shape[1],)))(keys)
    best, rows = jax.lax.top_k(jnp.where(is_open, drawn, -1.0), number)
    return rows, best >= 0


def balanced_accuracy(logit: jax.Array, is_true: jax.Array, is_pair: jax.Array) -> jax.Array:
    """Mean of the shares of true and of false pairs that are told right, half by chance; arguments all [Q, G]."""
    right = (logit > 0) == is_true
    sides = [losses.weighted_mean(right, side & is_pair) for side in (is_true, ~is_true)]
    return (sides[0] + sides[1]) / 2


def with_own(own: jax.Array, others: jax.Array) -> jax.Array:
    """Own rows [B, ...] before others [B, n, ...]: [B, 1 + n, ...]."""
    return jnp.concatenate([own[:, None], others], axis=1)


def own_and_drawn(weight: jax.Array, is_drawn: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Which pairs [B, 1 + n] are true and which take part: float32 [B], bool [B, n] to two bool arrays."""
    is_pair = with_own(weight > 0, is_drawn)
    return jnp.broadcast_to(jnp.arange(is_pair.shape[1]) == 0, is_pair.shape), is_pair


def flat_pairs(queries: tuple[jax.Array, ...], foreground: jax.Array) -> tuple[jax.Array, ...]:
    """Queries [B, ...] and foregrounds [B, m, ...] as B x m rows each, a query's next to each other."""
    number = foreground.shape[1]
    return (*(x.repeat(number, axis=0) for x in queries), foreground.reshape(-1, *foreground.shape[2:]))


def make_teacher_loss(
    discriminator: CompositeDiscriminator,
    *,
    negatives: int,
    augmentation: augment.Augmentation = augment.NOTHING,
) -> LossFunction:
    """Loss of a batch of `triplets.triplet_rows`, own foregrounds only; params are {"composite": ...}.

    Args:
      discriminator: trained.
      negatives: false composites a query.
      augmentation: of queries and foregrounds.

    Raises:
      InputError: no negatives.

    Source: DiscoFOS (Zhang et al., ICCV 2023): binary classification of composites; decision 20.
    """
    if negatives < 1:
        raise InputError(f"config: disco.teacher_negatives: {negatives!r}, expected at least 1")

    def loss_function(
        params: Any, batch_stats: Any, batch: Mapping[str, jax.Array], keys: jax.Array, constants: Any, gather: Gather
    ) -> tuple[jax.Array, tuple[Metrics, Any]]:
        del constants
        augment_keys, negative_keys = augment.split_keys(keys, 2)
        image, box, foreground = augment.augment_pairs(
            batch["image"],
            batch["box_yxyx_norm"],
            batch["positive_image"],
            augment_keys,
            augmentation,
        )
        candidates = gather({name: batch[name] for name in ("positive_category", "positive_row", "weight")})
        rows, is_drawn = drawn_negatives(negative_keys, batch, candidates, number=negatives)
        pasted = with_own(foreground, gather(foreground)[rows])  # [B, 1 + n, S, S, 4]
        inputs = flat_pairs((image, box, batch["category"]), pasted)
        output, stats = apply_for_training(discriminator, params[COMPOSITE], batch_stats.get(COMPOSITE, {}), *inputs)
        logit, weight, is_drawn = gather((output.logit.reshape(-1, 1 + negatives), batch["weight"], is_drawn))
        is_true, is_pair = own_and_drawn(weight, is_drawn)
        metrics = {"right": balanced_accuracy(logit, is_true, is_pair)}
        return pair_cross_entropy(logit, is_true, is_pair), (metrics, {COMPOSITE: stats} if stats else {})

    return loss_function


def teacher_task(
    config: Any,
    train: Split,
    validation: Split,
    table: PatternTable,
    *,
    negatives: int,
    axis_name: str | None = None,
) -> Task:
    """The task of training the discriminator of composites; it writes no bundle.

    Args:
      config: with `seed`, `foreground`, `query`, `composite` and `augment`.
      train, validation: foregrounds and queries. table: pattern table, for categories.
      negatives: false composites a query.
      axis_name: `parallelism.AXIS` when it will run under pmap, else None.

    Raises:
      InputError: a split in which no query has an own foreground, or a wrong field.
    """
    models = {name: config[name].to_dict() for name in ("foreground", "query", COMPOSITE)}
    discriminator = build_composite(models, table, axis_name=axis_name)
    variables = init_pair_network(COMPOSITE, jax.random.key(config.seed + 2), models, table)
    rows = triplet_rows(*train)

    return Task(
        variables={collection: {COMPOSITE: arrays} for collection, arrays in variables.items()},
        loss_function=make_teacher_loss(
            discriminator,
            negatives=negatives,
            augmentation=augment.from_config(config.augment),
        ),
        constants={},
        arrays=rows.arrays,
        ids=rows.ids,
        validate=_HeldPairs(discriminator, *validation),
        finish=lambda trained, metrics: None,
        inputs=input_fingerprints(train, validation, table),
    )


class _HeldPairs:
    """How well the discriminator tells own foregrounds from the next query's of the category, on validation."""

    def __init__(self, discriminator: CompositeDiscriminator, foregrounds: Any, queries: Any):
        held = np.flatnonzero(queries.foreground_index >= 0)[:_HELD_PAIRS]
        if not len(held):
            raise InputError("data set, split validation: no query has its own foreground, expected some")
        own = queries.foreground_index[held]
        other = own.copy()
        for category in np.unique(queries.category[held]):
            rows = np.flatnonzero(queries.category[held] == category)
            other[rows] = np.roll(own[rows], 1)
        self._inputs = queries.image[held], queries.box_yxyx_norm[held], queries.category[held]
        self._foregrounds = foregrounds.image[np.stack([own, other], axis=1)]  # [n, 2, S, S, 4]
        self._is_drawn = (own != other)[:, None]

        @jax.jit
        def logits(variables: Any, *inputs: jax.Array) -> jax.Array:
            return cast(PairOutput, discriminator.apply(variables, *inputs)).logit

        self._logits = logits

    def __call__(self, trained: Mapping[str, Any]) -> dict[str, float]:
        variables = {collection: tree[COMPOSITE] for collection, tree in trained.items() if COMPOSITE in tree}
        logit = self._logits(variables, *flat_pairs(tuple(map(jnp.asarray, self._inputs)), self._foregrounds))
        pairs = logit.reshape(-1, 2), *own_and_drawn(jnp.ones(len(self._is_drawn)), jnp.asarray(self._is_drawn))
        loss = float(pair_cross_entropy(*pairs))
        return {"cross_entropy": loss, "right": float(balanced_accuracy(*pairs)), "score": -loss}
