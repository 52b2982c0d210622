"""Scores of every query with every foreground by a network that judges pairs, a tile of pairs at a time."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, cast

import jax
import numpy as np
from tqdm import tqdm

from fos_jax.encoders.build import build_foreground_encoder, build_query_encoder, run_in_batches
from fos_jax.encoders.operations import count_gflop
from fos_jax.pattern_table import PatternTable
from fos_jax.rivals.composite import PairOutput
from fos_jax.rivals.interaction import InteractionNetwork, apply_with_map
from fos_jax.rivals.pair_networks import INTERACTION, PAIR_NETWORKS, build_composite, build_interaction

Arrays = tuple[np.ndarray, ...]
Variables = Mapping[str, Any]
Step = Callable[..., Any]
QUERIES_A_TILE, FOREGROUNDS_A_TILE = 8, 32


class PairScorer:
    """A pair network over many pairs, compiled once.

    What can be known of a query or of a foreground alone is computed once (`queries`, `foregrounds`), and pairs are
    scored from that: shares of an interaction, or the pictures themselves for composites.

    Args:
      name: "interaction" or "composite".
      config: the whole config, with a section of that name.
      table: the pattern table.

    Variables are those of a bundle: "foreground", "query" and the network's own name -> flax variables.
    """

    def __init__(self, name: str, config: Mapping[str, Any], table: PatternTable):
        if name not in PAIR_NETWORKS:
            raise ValueError(f"name: {name!r}, expected one of {', '.join(PAIR_NETWORKS)}")
        self._name = name
        self._of_query: Step | None = None
        self._of_foreground: Step | None = None
        self._tile: Any
        if name == INTERACTION:
            self._of_query, self._of_foreground, self._tile = _interaction_steps(config, table)
        else:
            self._tile = _composite_step(config, table)

    def queries(
        self,
        variables: Variables,
        image: np.ndarray,
        box_yxyx_norm: np.ndarray,
        category: np.ndarray,
        *,
        batch_size: int = 256,
    ) -> Arrays:
        """What scoring reads of queries: uint8 [n, S, S, 3], float32 [n, 4], int32 [n] to arrays [n, ...]."""
        return _prepared(self._of_query, variables, (image, box_yxyx_norm, category), batch_size)

    def foregrounds(
        self, variables: Variables, image: np.ndarray, category: np.ndarray, *, batch_size: int = 256
    ) -> Arrays:
        """What scoring reads of foregrounds: uint8 [n, F, F, 4], int32 [n] to arrays [n, ...]."""
        return _prepared(self._of_foreground, variables, (image, category), batch_size)

    def scores(
        self, variables: Variables, queries: Arrays, foregrounds: Arrays, *, description: str = ""
    ) -> np.ndarray:
        """Logits of fitting, float32 [q, g], from rows of `queries` and `foregrounds`; a bar where described."""
        num_queries, num_foregrounds = len(queries[0]), len(foregrounds[0])
        out = np.empty((num_queries, num_foregrounds), np.float32)
        own = jax.device_put(variables[self._name])
        with tqdm(total=out.size, desc=description, unit="pair", disable=not description, leave=False) as bar:
            for top in range(0, num_queries, QUERIES_A_TILE):
                rows = _padded(queries, top, QUERIES_A_TILE)
                for left in range(0, num_foregrounds, FOREGROUNDS_A_TILE):
                    tile = self._tile(own, rows, _padded(foregrounds, left, FOREGROUNDS_A_TILE))
                    part = out[top : top + QUERIES_A_TILE, left : left + FOREGROUNDS_A_TILE]
                    part[:] = np.asarray(tile)[: part.shape[0], : part.shape[1]]
                    bar.update(part.size)
        return out

    def gflop(self, variables: Variables, queries: Arrays, foregrounds: Arrays) -> float | None:
        """Operations of one pair in units of 1e9, as XLA counts them; None where it does not."""
        one = [tuple(array[:1] for array in arrays) for arrays in (queries, foregrounds)]
        return count_gflop(self._tile, variables[self._name], *one)


def _interaction_steps(config: Mapping[str, Any], table: PatternTable) -> tuple[Step, Step, Step]:
    network = build_interaction(config)
    encoders = {"query": build_query_encoder(config, table), "foreground": build_foreground_encoder(config, table)}

    @jax.jit
    def of_query(variables, image, box, category):
        output, features, _ = apply_with_map(encoders["query"], variables["query"], image, box, category)
        inputs = (features, box, output.embedding)
        return (network.apply(variables[INTERACTION], *inputs, method=InteractionNetwork.of_queries),)

    @jax.jit
    def of_foreground(variables, image, category):
        output, features, _ = apply_with_map(encoders["foreground"], variables["foreground"], image, category)
        inputs = (features, output.embedding)
        return (network.apply(variables[INTERACTION], *inputs, method=InteractionNetwork.of_foregrounds),)

    @jax.jit
    def tile(variables, queries, foregrounds):
        pairs = queries[0][:, None], foregrounds[0][None]
        return cast(PairOutput, network.apply(variables, *pairs, method=InteractionNetwork.pairs)).logit

    return of_query, of_foreground, tile


def _composite_step(config: Mapping[str, Any], table: PatternTable) -> Any:
    network = build_composite(config, table)

    @jax.jit
    def tile(variables, queries, foregrounds):
        num_queries, num_foregrounds = len(queries[0]), len(foregrounds[0])
        image, box, category = (x.repeat(num_foregrounds, axis=0) for x in queries)
        foreground = jax.numpy.tile(foregrounds[0], (num_queries, 1, 1, 1))
        found = cast(PairOutput, network.apply(variables, image, box, category, foreground))
        return found.logit.reshape(num_queries, num_foregrounds)

    return tile


def _prepared(step: Step | None, variables: Variables, arrays: Arrays, batch_size: int) -> Arrays:
    """Rows of a step's outputs, in padded batches of one size; the arrays themselves where there is no step."""
    if step is None:
        return tuple(np.asarray(x) for x in arrays)
    of = functools.partial(step, jax.device_put(dict(variables)))
    return tuple(run_in_batches(of, arrays, batch_size=min(batch_size, len(arrays[0]))))


def _padded(arrays: Arrays, start: int, size: int) -> Arrays:
    """`size` rows from `start` on; what is missing at the end repeats the last row."""
    rows = np.arange(start, start + size).clip(max=len(arrays[0]) - 1)
    return tuple(x[rows] for x in arrays)
