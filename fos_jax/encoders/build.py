"""Both encoders from a config and a pattern table, and their variables: abstract (shapes only) or initialised."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from fos_jax.encoders.config import complete_foreground, complete_query
from fos_jax.encoders.foreground import ForegroundEncoder, make_foreground_encoder
from fos_jax.encoders.query import QueryEncoder, make_query_encoder
from fos_jax.pattern_table import PatternTable


def build_foreground_encoder(
    config: Mapping[str, Any], table: PatternTable, *, axis_name: str | None = None
) -> ForegroundEncoder:
    """The foreground encoder of a whole config (its `foreground`) for a pattern table."""
    return make_foreground_encoder(config["foreground"], num_patterns=table.num_patterns, axis_name=axis_name)


def build_query_encoder(
    config: Mapping[str, Any], table: PatternTable, *, axis_name: str | None = None
) -> QueryEncoder:
    """The query encoder of a whole config (its `query`, and the embedding size of its `foreground`)."""
    return make_query_encoder(
        config["query"],
        num_categories=len(table.categories),
        num_patterns=table.num_patterns,
        num_attribute_values=len(table.attribute_values),
        embedding_size=complete_foreground(config["foreground"])["embedding_size"],
        axis_name=axis_name,
    )


def init_foreground(key: jax.Array, config: Mapping[str, Any], table: PatternTable) -> dict[str, Any]:
    """Initial variables of the foreground encoder."""
    size = complete_foreground(config["foreground"])["image_size"]
    image = jnp.zeros((1, size, size, 4), jnp.uint8)
    return jax.jit(build_foreground_encoder(config, table).init)(key, image)


def init_query(key: jax.Array, config: Mapping[str, Any], table: PatternTable) -> dict[str, Any]:
    """Initial variables of the query encoder."""
    size = complete_query(config["query"])["image_size"]
    image = jnp.zeros((1, size, size, 3), jnp.uint8)
    box = jnp.array([[0.25, 0.25, 0.75, 0.75]], jnp.float32)
    return jax.jit(build_query_encoder(config, table).init)(key, image, box, jnp.zeros((1,), jnp.int32))


def abstract_variables(config: Mapping[str, Any], table: PatternTable, *, has_query: bool) -> dict[str, Any]:
    """Shapes and dtypes of the variables, by encoder ("foreground", "query"); nothing is computed."""
    key = jax.random.key(0)
    made = {"foreground": jax.eval_shape(lambda k: init_foreground(k, config, table), key)}
    if has_query:
        made["query"] = jax.eval_shape(lambda k: init_query(k, config, table), key)
    return made
