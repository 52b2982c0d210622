"""CFO-Search: compositing-aware image search (Zhao et al., ECCV 2018), on this project's backbones, data and loop.

As publicly described: two streams; image features and a category embedding fused by compact bilinear pooling (both
encoders' `fusion`: "bilinear"); a triplet loss with a margin, the query's own foreground the positive, others of the
batch the negatives; jittered rectangles; triplet extension.
Chosen here: the rectangle joins the category in what is fused in the query's stream, and its mask is an input channel,
so that the rival lacks nothing that the student sees; category vectors are learnt; the margin and every number. The
context features of the extension are the embeddings of the queries by a first stage, trained on own foregrounds only:
there are no pretrained networks here. The second stage goes on from there; both share the steps of the config.
The strongest form of this rival known here is `two_streams`.

Triplet extension: public descriptions say that positives were added by similar context features and by the overlap of
masks, and that it helped; not which features, how many neighbours, which overlap, nor how the two combine. Here a
foreground becomes a positive of a query if both hold: it was taken out of one of the most similar backgrounds of the
category, and its silhouette overlaps that of the query's own foreground. An overlap of 0 leaves the contexts alone; as
many contexts as there are queries leaves the silhouettes alone.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from absl import logging

from fos_jax.data.arrays import Foregrounds, Pairs, Queries
from fos_jax.data.cache import cached_arrays
from fos_jax.errors import InputError
from fos_jax.pattern_table import PatternTable
from fos_jax.rivals.joint import Split, build_encoders, part_of
from fos_jax.rivals.settings import NUMBER, checked, remaining_steps
from fos_jax.rivals.triplets import train_on_triplets
from fos_jax.training.loop import Runner
from fos_jax.training.validation import QUERY_INPUTS, Encoder

MASK_SIDE = 32  # px; silhouettes are compared at this size
_BLOCK = 256  # queries at a time


def train_cfo(config: Any, train: Split, validation: Split, table: PatternTable, workdir: Path, run: Runner) -> None:
    """Trains the rival; `<workdir>/bundle` is its model, `<workdir>/first_stage` the model before the extension.

    Args:
      config: with `seed`, `foreground`, `query`, `triplets` (arguments of the loss), `augment`, and `extension`:
        `first_steps` (of training.num_steps) and the arguments of `further_positives`.
      train, validation, table, workdir, run: as of `methods.train_rival`.

    Raises:
      InputError: a wrong field in the config.

    Source: Zhao et al., ECCV 2018; the module names what was chosen here (decision 20).
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
    variables = train_on_triplets(*stages, workdir / "first_stage", run, num_steps=first_steps)

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
    train_on_triplets(*stages, workdir, run, num_steps=num_steps, further=further, variables=variables)


def further_positives(
    queries: Queries,
    foregrounds: Foregrounds,
    context: np.ndarray,
    *,
    num_contexts: int,
    smallest_overlap: float,
    largest_number: int,
) -> Pairs:
    """Foregrounds of similar backgrounds with a similar silhouette, by overlap, then by context.

    Args:
      queries, foregrounds: the training split; neither patterns nor compatible patterns are read.
      context: float [n, F], unit vectors, features of the queries' backgrounds.
      num_contexts: how many most similar backgrounds of the category are looked at.
      smallest_overlap: of the two silhouettes, intersection over union.
      largest_number: of further positives a query.

    Returns:
      For each query its further positives, never its own foreground, none twice; none without an own foreground.

    Raises:
      InputError: a number out of its range.

    Source: Zhao et al., ECCV 2018 (the idea: context features, mask overlap); decision 20.
    """
    for name, value in (("num_contexts", num_contexts), ("largest_number", largest_number)):
        if value < 0:
            raise InputError(f"config: extension.{name}: {value!r}, expected at least 0")
    if not 0 <= smallest_overlap <= 1:
        raise InputError(f"config: extension.smallest_overlap: {smallest_overlap!r}, expected 0 to 1")
    own = queries.foreground_index
    found: list[np.ndarray] = [np.zeros(0, np.int32)] * len(queries)
    for category in np.unique(queries.category):
        rows = np.flatnonzero((queries.category == category) & (own >= 0))
        masks = silhouettes(foregrounds.image, own[rows])
        for start in range(0, len(rows), _BLOCK):
            block = np.arange(start, min(start + _BLOCK, len(rows)))
            near = _most_similar(context[rows[block]] @ context[rows].T, own[rows[block]], own[rows], num_contexts)
            for i, neighbours in zip(block, near, strict=True):
                overlap = overlaps(masks[i], masks[neighbours])
                best = np.argsort(-overlap, kind="stable")
                best = best[overlap[best] >= smallest_overlap]
                candidates = own[rows[neighbours[best]]]
                first = np.sort(np.unique(candidates, return_index=True)[1])
                found[rows[i]] = candidates[first][:largest_number].astype(np.int32)
    return Pairs(np.cumsum([0, *map(len, found)]), np.concatenate([np.zeros(0, np.int32), *found]))


def silhouettes(image: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """bool [m, MASK_SIDE ** 2]: where the cut-outs of these rows are opaque; image uint8 [n, S, S, 4]."""
    side = (MASK_SIDE, MASK_SIDE)
    masks = [cv2.resize(np.ascontiguousarray(image[r, :, :, 3]), side, interpolation=cv2.INTER_AREA) for r in rows]
    return np.reshape(masks, (len(rows), MASK_SIDE**2)) > 127


def overlaps(mask: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of bool [k] with each of bool [m, k]: float [m], 0 where both are empty."""
    return (mask & others).sum(axis=1) / np.maximum((mask | others).sum(axis=1), 1)


def share_compatible(pairs: Pairs, queries: Queries, foregrounds: Foregrounds) -> float:
    """Share of the pairs whose foreground is of a compatible pattern; NaN without pairs of known pattern.

    It is for the record only: training must not see it.
    """
    query = np.repeat(np.arange(len(pairs)), np.diff(pairs.offsets))
    pattern = foregrounds.pattern[pairs.rows]
    is_known = pattern >= 0
    if not is_known.any():
        return float("nan")
    return float(queries.is_compatible[query[is_known], pattern[is_known]].mean())


def described(pairs: Pairs, queries: Queries, foregrounds: Foregrounds) -> str:
    """How many further positives there are and, where patterns tell, how many of them fit; for logs."""
    share = share_compatible(pairs, queries, foregrounds)
    right = "" if np.isnan(share) else f", {share:.0%} of them of a compatible pattern (training does not know)"
    return f"{len(pairs.rows) / max(len(pairs), 1):.2f} further positives a query{right}"


def _most_similar(similarity: np.ndarray, own: np.ndarray, candidate: np.ndarray, number: int) -> np.ndarray:
    """int [q, k]: the most similar columns of each row, k at most `number`, foregrounds other than the own one only."""
    similarity = np.where(own[:, None] == candidate[None, :], -np.inf, similarity)
    fewest_others = int(np.isfinite(similarity).sum(axis=1).min(initial=similarity.shape[1]))
    number = min(number, fewest_others)
    return np.argsort(-similarity, axis=1, kind="stable")[:, :number]
