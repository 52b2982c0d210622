"""A discriminator of (background, foreground) pairs, and the further positives that it finds (UFO-Search).

Two encoders of the usual kind, whose embeddings of a pair go through a small network to one logit: does this foreground
belong to this background? Every background of a batch meets every foreground of it, its own being the only true one.
"""

from collections.abc import Mapping
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from tqdm import tqdm

from fos_jax import losses
from fos_jax.data.arrays import Foregrounds, Pairs, Queries
from fos_jax.encoders.foreground import ForegroundEncoder
from fos_jax.encoders.query import QueryEncoder
from fos_jax.errors import InputError
from fos_jax.rivals.joint import encode_augmented
from fos_jax.training import augment
from fos_jax.training.step import Gather, LossFunction, Metrics

_LARGEST_LAYER = 1 << 24  # numbers in the hidden layer at a time


class PairNetwork(nn.Module):
    """Logit of each pair: queries float [Q, D], foregrounds float [G, D] to float32 [Q, G].

    One hidden layer on the two embeddings end to end; its matrix product splits in two, so that Q + G rows are
    multiplied instead of Q x G.

    Source: design decision.
    """

    hidden_size: int = 128

    @nn.compact
    def __call__(self, query: jax.Array, foreground: jax.Array) -> jax.Array:
        of_query = nn.Dense(self.hidden_size, name="query")(query)
        of_foreground = nn.Dense(self.hidden_size, use_bias=False, name="foreground")(foreground)
        hidden = nn.gelu(of_query[:, None, :] + of_foreground[None, :, :])  # [Q, G, H]
        return nn.Dense(1, name="logit")(hidden)[..., 0]


def pair_logits(network: PairNetwork, params: Any, query: ArrayLike, foreground: ArrayLike) -> jax.Array:
    """The network's logits of each pair; params are its own."""
    return cast(jax.Array, network.apply({"params": params}, query, foreground))


def pair_cross_entropy(logit: jax.Array, is_true: jax.Array, is_pair: jax.Array) -> jax.Array:
    """Binary cross-entropy, the mean over true pairs and the mean over false ones counting alike.

    Args:
      logit: float [Q, G].
      is_true: bool [Q, G].
      is_pair: bool [Q, G], pairs that take part: no padding.

    Returns:
      float32 scalar; a side without pairs counts 0.

    Source: design decision (one true pair a row would otherwise drown).
    """
    true = losses.weighted_mean(jax.nn.softplus(-logit), is_true & is_pair)
    false = losses.weighted_mean(jax.nn.softplus(logit), ~is_true & is_pair)
    return (true + false) / 2


def make_discriminator_loss(
    foreground_encoder: ForegroundEncoder,
    query_encoder: QueryEncoder,
    network: PairNetwork,
    *,
    augmentation: augment.Augmentation = augment.NOTHING,
) -> LossFunction:
    """Loss of a batch of `triplets.triplet_rows`; params hold "foreground", "query" and "pair".

    Source: Zhao et al., ICCV 2019 (a discriminator of pairs); the rest is a design decision.
    """

    def loss_function(
        params: Any, batch_stats: Any, batch: Mapping[str, jax.Array], keys: jax.Array, constants: Any, gather: Gather
    ) -> tuple[jax.Array, tuple[Metrics, Any]]:
        del constants
        of_query, of_foreground, stats = encode_augmented(
            foreground_encoder,
            query_encoder,
            params,
            batch_stats,
            batch,
            batch["positive_image"],
            batch["positive_category"],
            keys,
            augmentation,
        )
        query, positive, weight, row = gather(
            (of_query.embedding, of_foreground.embedding, batch["weight"], batch["positive_row"])
        )
        logit = pair_logits(network, params["pair"], query, positive)
        is_pair = (weight > 0)[:, None] & (weight > 0)[None, :]
        is_true = row[:, None] == row[None, :]
        metrics = {"right": losses.weighted_mean((logit > 0) == is_true, is_pair)}
        return pair_cross_entropy(logit, is_true, is_pair), (metrics, stats)

    return loss_function


def mined_positives(
    network: PairNetwork,
    params: Any,
    query_embedding: np.ndarray,
    foreground_embedding: np.ndarray,
    queries: Queries,
    foregrounds: Foregrounds,
    *,
    threshold: float,
    largest_number: int,
    same_category_only: bool,
) -> Pairs:
    """Foregrounds that the discriminator takes for a query's own, the likeliest first.

    Args:
      network, params: of the discriminator's last part.
      query_embedding, foreground_embedding: float32 [n, D], [m, D], by its encoders.
      queries, foregrounds: the training split; neither patterns nor compatible patterns are read.
      threshold: least probability.
      largest_number: of further positives a query.
      same_category_only: whether they must be of the query's category.

    Returns:
      For each query its further positives, never its own foreground; none for a query without one.

    Raises:
      InputError: a number out of its range.

    Source: Zhao et al., ICCV 2019 (positives above a threshold); the numbers are design decisions.
    """
    if not 0 < threshold < 1:
        raise InputError(f"config: mining.threshold: {threshold!r}, expected more than 0 and less than 1")
    if largest_number < 1:
        raise InputError(f"config: mining.largest_number: {largest_number!r}, expected at least 1")
    number = min(largest_number, len(foregrounds))
    logit_threshold = np.log(threshold) - np.log1p(-threshold)

    @jax.jit
    def best(query, own, category, foreground, foreground_category):
        logit = pair_logits(network, params, query, foreground)  # [b, m]
        is_open = (own >= 0)[:, None] & (own[:, None] != jnp.arange(logit.shape[1])[None, :])
        if same_category_only:
            is_open &= category[:, None] == foreground_category[None, :]
        return jax.lax.top_k(jnp.where(is_open, logit, -jnp.inf), number)

    gallery = jax.device_put((foreground_embedding, foregrounds.category))
    size = max(1, min(len(queries), _LARGEST_LAYER // (len(foregrounds) * network.hidden_size)))
    found: list[np.ndarray] = []
    for start in tqdm(range(0, len(queries), size), desc="mining positives", unit="block"):
        rows = np.arange(start, start + size).clip(max=len(queries) - 1)  # the last block repeats a row: one compile
        logit, column = best(
            query_embedding[rows],
            queries.foreground_index[rows],
            queries.category[rows],
            *gallery,
        )
        kept = np.asarray(logit) >= logit_threshold
        found += [np.asarray(column)[i][kept[i]] for i in range(min(size, len(queries) - start))]
    return Pairs(np.cumsum([0, *map(len, found)]), np.concatenate(found).astype(np.int32))
