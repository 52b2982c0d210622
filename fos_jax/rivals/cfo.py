"""CFO-Search: compositing-aware image search (Zhao et al., ECCV 2018), on this project's backbones, data and loop.

As publicly described: two streams; image features and a category embedding fused by compact bilinear pooling (both
encoders' `fusion`: "bilinear"); a triplet loss with a margin, the query's own foreground the positive, others of the
batch the negatives; jittered rectangles; triplet extension.
Chosen here: the rectangle joins the category in what is fused in the query's stream, and its mask is an input channel,
so that the rival lacks nothing that the student sees; category vectors are learnt; the margin and every number. The
context features of the extension are the embeddings of the queries by a first stage, trained on own foregrounds only:
there are no pretrained networks here. The second stage goes on from there; both share the steps of the config.
The strongest form of this rival known here is `two_stream`.
"""

from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from fos_jax.data.arrays import Pairs
from fos_jax.data.cache import cached_arrays
from fos_jax.pattern_table import PatternTable
from fos_jax.rivals.extension import described, further_positives
from fos_jax.rivals.joint import Split, build_encoders, part_of
from fos_jax.rivals.settings import NUMBER, checked
from fos_jax.rivals.stages import Circumstances, remaining_steps, train_on_triplets
from fos_jax.training.model import Encoder
from fos_jax.training.student_task import QUERY_INPUTS


def train_cfo(
    config: Any, train: Split, validation: Split, table: PatternTable, workdir: Path, circumstances: Circumstances
) -> None:
    """Trains the rival; `<workdir>/bundle` is its model, `<workdir>/first_stage` the model before the extension.

    Args:
      config: with `seed`, `foreground`, `query`, `triplets` (arguments of the loss), `augment`, and `extension`:
        `first_steps` (of training.num_steps) and the arguments of `further_positives`.
      train, validation: foregrounds and queries.
      table: pattern table; only prototypes, validation and the record read patterns.
      workdir: of the run.
      circumstances: see there.

    Raises:
      InputError: a wrong field in the config.

    Source: Zhao et al., ECCV 2018; see the module's docstring for what is a design decision.
    """
    settings = checked(
        config.extension,
        "extension",
        first_steps=int,
        num_contexts=int,
        smallest_overlap=NUMBER,
        largest_number=int,
    )
    first_steps = settings.pop("first_steps")
    num_steps = remaining_steps(config, first_steps, "extension.first_steps")
    stages = (config, train, validation, table)
    variables = train_on_triplets(*stages, workdir / "first_stage", circumstances, num_steps=first_steps)

    def extend() -> dict[str, np.ndarray]:
        queries = train[1]
        encode = Encoder(build_encoders(config, table)[1], QUERY_INPUTS)
        inputs = {name: getattr(queries, name) for name in QUERY_INPUTS}
        context = encode(part_of(variables, "query"), inputs, description="contexts")[0]
        pairs = further_positives(queries, train[0], context, **settings)
        return {"offsets": pairs.offsets, "rows": pairs.rows}

    # Kept, so that a resumed run trains on the very same pairs.
    further = Pairs(**cached_arrays(workdir, "further_positives", extend))
    logging.info("extension: %s", described(further, train[1], train[0]))
    train_on_triplets(*stages, workdir, circumstances, num_steps=num_steps, further=further, variables=variables)
