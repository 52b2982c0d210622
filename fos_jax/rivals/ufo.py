"""UFO-Search: unconstrained foreground object search (Zhao et al., ICCV 2019), on this project's backbones and loop.

As publicly described: the background is encoded into the latent space of the foregrounds, without a category (the query
encoder's `uses_category`: False); a discriminator of (background, foreground) pairs is trained first and finds further
positives above a threshold; triplets then train the search. Every background of a batch meets every foreground of it,
its own being the only true one.
Chosen here: both encoders are trained in both stages, each stage from fresh weights; the discriminator is two encoders
and a small network on their embeddings; the margin and every number. The search itself stays within the category that
the benchmark gives, as for all methods.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.typing import ArrayLike
from tqdm import tqdm

from fos_jax import losses
from fos_jax.data.arrays import Foregrounds, Pairs, Queries
from fos_jax.data.cache import cached_arrays
from fos_jax.encoders.foreground import ForegroundEncoder
from fos_jax.encoders.query import QueryEncoder
from fos_jax.errors import InputError
from fos_jax.pattern_table import PatternTable
from fos_jax.rivals.cfo import described
from fos_jax.rivals.joint import (
    Split,
    build_encoders,
    encode_augmented,
    frozen_of_both,
    init_encoders,
    input_fingerprints,
    pair_cross_entropy,
    part_of,
)
from fos_jax.rivals.settings import NUMBER, checked, remaining_steps, stage_config
from fos_jax.rivals.triplets import train_on_triplets, triplet_rows
from fos_jax.training import augment
from fos_jax.training.loop import Runner, Task
from fos_jax.training.step import Gather, LossFunction, Metrics
from fos_jax.training.validation import FOREGROUND_INPUTS, QUERY_INPUTS, Encoder

_LARGEST_LAYER = 1 << 24  # numbers in the hidden layer at a time
_HELD_PAIRS = 256  # validation queries that the discriminator is measured on, each against all their foregrounds


class PairNetwork(nn.Module):
    """Logit of each pair: queries float [Q, D], foregrounds float [G, D] to float32 [Q, G].

    One hidden layer on the two embeddings end to end; its matrix product splits in two, so that Q + G rows are
    multiplied instead of Q x G.
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


def make_discriminator_loss(
    foreground_encoder: ForegroundEncoder,
    query_encoder: QueryEncoder,
    network: PairNetwork,
    *,
    augmentation: augment.Augmentation = augment.NOTHING,
) -> LossFunction:
    """Loss of a batch of `triplets.triplet_rows`; params hold "foreground", "query" and "pair".

    Source: Zhao et al., ICCV 2019 (a discriminator of pairs); decision 20.
    """

    def loss_function(
        params: Any, batch_stats: Any, batch: Mapping[str, jax.Array], keys: jax.Array, constants: Any, gather: Gather
    ) -> tuple[jax.Array, tuple[Metrics, Any]]:
        del constants
        encoders = foreground_encoder, query_encoder
        of_query, of_foreground, stats = encode_augmented(encoders, params, batch_stats, batch, keys, augmentation)
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

    Source: Zhao et al., ICCV 2019 (positives above a threshold); decision 20.
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


def train_ufo(config: Any, train: Split, validation: Split, table: PatternTable, workdir: Path, run: Runner) -> None:
    """Trains the rival; `<workdir>/bundle` is its model, `<workdir>/discriminator` the run of the first stage.

    Args:
      config: with `seed`, `foreground`, `query`, `triplets` (arguments of the loss), `augment`, and `mining`:
        `first_steps` (of training.num_steps), `hidden_size` and the arguments of `mined_positives`.
      train, validation, table, workdir, run: as of `methods.train_rival`.

    Raises:
      InputError: a wrong field in the config.

    Source: Zhao et al., ICCV 2019; the module names what was chosen here (decision 20).
    """
    settings = checked(
        config.mining,
        "mining",
        first_steps=int,
        hidden_size=int,
        threshold=NUMBER,
        largest_number=int,
        same_category_only=bool,
    )
    first_steps = settings.pop("first_steps")
    num_steps = remaining_steps(config, first_steps, "mining.first_steps")
    network = PairNetwork(settings.pop("hidden_size"))
    task = discriminator_task(config, train, validation, table, network, axis_name=run.axis_name)
    variables = run(
        task,
        stage_config(config, num_steps=first_steps),
        workdir / "discriminator",
    )

    def mine() -> dict[str, np.ndarray]:
        embeddings = _embeddings(config, table, variables, train)
        pairs = mined_positives(network, variables["params"]["pair"], *embeddings, train[1], train[0], **settings)
        return {"offsets": pairs.offsets, "rows": pairs.rows}

    # Kept, so that a resumed run trains on the very same pairs.
    further = Pairs(**cached_arrays(workdir, "further_positives", mine))
    logging.info("mining: %s", described(further, train[1], train[0]))
    train_on_triplets(config, train, validation, table, workdir, run, num_steps=num_steps, further=further)


def discriminator_task(
    config: Any,
    train: Split,
    validation: Split,
    table: PatternTable,
    network: PairNetwork,
    *,
    axis_name: str | None = None,
) -> Task:
    """The task of training the discriminator; it writes no bundle. Arguments as of `train_ufo`."""
    encoders = build_encoders(config, table, axis_name=axis_name)
    rows = triplet_rows(*train)
    variables = init_encoders(config, table)
    size = encoders[0].embedding_size
    pair = network.init(jax.random.key(config.seed + 2), jnp.zeros((1, size)), jnp.zeros((1, size)))
    queries = validation[1]
    held = np.flatnonzero(queries.foreground_index >= 0)[:_HELD_PAIRS]
    if not len(held):
        raise InputError("data set, split validation: no query has its own foreground, expected some")
    own = queries.foreground_index[held]

    def validate(trained: dict[str, Any]) -> dict[str, float]:
        of_queries, of_foregrounds = _embeddings(config, table, trained, validation)
        logit = pair_logits(network, trained["params"]["pair"], of_queries[held], of_foregrounds[own])
        is_true = jnp.asarray(own[:, None] == own[None, :])
        loss = float(pair_cross_entropy(logit, is_true, jnp.ones_like(is_true)))
        return {"cross_entropy": loss, "score": -loss}

    return Task(
        variables={**variables, "params": {**variables["params"], "pair": pair["params"]}},
        loss_function=make_discriminator_loss(
            *encoders,
            network,
            augmentation=augment.from_config(config.augment),
        ),
        constants={},
        arrays=rows.arrays,
        ids=rows.ids,
        validate=validate,
        finish=lambda trained, metrics: None,
        inputs=input_fingerprints(train, validation, table),
        frozen=frozen_of_both(variables, config),
    )


def _embeddings(
    config: Any, table: PatternTable, variables: dict[str, Any], split: Split
) -> tuple[np.ndarray, np.ndarray]:
    """Of a split's queries and foregrounds, by the discriminator's encoders."""
    foreground_encoder, query_encoder = build_encoders(config, table)
    foregrounds, queries = split
    of_queries = Encoder(query_encoder, QUERY_INPUTS)(
        part_of(variables, "query"), {name: getattr(queries, name) for name in QUERY_INPUTS}
    )
    of_foregrounds = Encoder(foreground_encoder, FOREGROUND_INPUTS)(
        part_of(variables, "foreground"), {name: getattr(foregrounds, name) for name in FOREGROUND_INPUTS}
    )
    return of_queries[0], of_foregrounds[0]
