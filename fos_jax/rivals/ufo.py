"""UFO-Search: unconstrained foreground object search (Zhao et al., ICCV 2019), on this project's backbones and loop.

As publicly described: the background is encoded into the latent space of the foregrounds, without a category (the query
encoder's `uses_category`: False); a discriminator of (background, foreground) pairs is trained first and finds further
positives above a threshold; triplets then train the search.
Chosen here: both encoders are trained in both stages, each stage from fresh weights; the discriminator is two encoders
and a small network on their embeddings; the margin and every number. The search itself stays within the category that
the benchmark gives, as for all methods.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from fos_jax.data.arrays import Pairs
from fos_jax.data.cache import cached_arrays
from fos_jax.errors import InputError
from fos_jax.pattern_table import PatternTable
from fos_jax.rivals.discriminator import (
    PairNetwork,
    make_discriminator_loss,
    mined_positives,
    pair_cross_entropy,
    pair_logits,
)
from fos_jax.rivals.extension import described
from fos_jax.rivals.joint import (
    FOREGROUND_INPUTS,
    Split,
    build_encoders,
    init_encoders,
    input_fingerprints,
    part_of,
)
from fos_jax.rivals.settings import NUMBER, checked
from fos_jax.rivals.stages import Circumstances, remaining_steps, stage_config, train_on_triplets
from fos_jax.rivals.triplets import triplet_rows
from fos_jax.training import augment
from fos_jax.training.loop import Task
from fos_jax.training.loop import train as train_task
from fos_jax.training.model import Encoder
from fos_jax.training.student_task import QUERY_INPUTS

_HELD_PAIRS = 256  # validation queries that the discriminator is measured on, each against all their foregrounds


def train_ufo(
    config: Any, train: Split, validation: Split, table: PatternTable, workdir: Path, circumstances: Circumstances
) -> None:
    """Trains the rival; `<workdir>/bundle` is its model, `<workdir>/discriminator` the run of the first stage.

    Args:
      config: with `seed`, `foreground`, `query`, `triplets` (arguments of the loss), `augment`, and `mining`:
        `first_steps` (of training.num_steps), `hidden_size` and the arguments of `mined_positives`.
      train, validation: foregrounds and queries.
      table: pattern table; only prototypes, validation and the record read patterns.
      workdir: of the run.
      circumstances: see there.

    Raises:
      InputError: a wrong field in the config.

    Source: Zhao et al., ICCV 2019; see the module's docstring for what is a design decision.
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
    task = discriminator_task(config, train, validation, table, network, axis_name=circumstances.axis_name)
    variables = train_task(
        task,
        stage_config(config, num_steps=first_steps),
        workdir / "discriminator",
        parallelism=circumstances.parallelism,
        progress=circumstances.progress,
    )

    def mine() -> dict[str, np.ndarray]:
        embeddings = _embeddings(config, table, variables, train)
        pairs = mined_positives(network, variables["params"]["pair"], *embeddings, train[1], train[0], **settings)
        return {"offsets": pairs.offsets, "rows": pairs.rows}

    # Kept, so that a resumed run trains on the very same pairs.
    further = Pairs(**cached_arrays(workdir, "further_positives", mine))
    logging.info("mining: %s", described(further, train[1], train[0]))
    train_on_triplets(config, train, validation, table, workdir, circumstances, num_steps=num_steps, further=further)


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
