"""Encoders from a config and a pattern table, and their variables: abstract (shapes only) or initialised.

Functions take a config, checked or not; a checked one is used as it is.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from fos_jax.encoders import extras
from fos_jax.encoders.config import check_config
from fos_jax.encoders.foreground import ForegroundEncoder, make_foreground_encoder
from fos_jax.encoders.query import QueryEncoder, make_query_encoder
from fos_jax.errors import InputError
from fos_jax.pattern_table import PatternTable


def build_foreground_encoder(
    config: Mapping[str, Any], table: PatternTable, *, axis_name: str | None = None
) -> ForegroundEncoder:
    """The foreground encoder of a whole config (its `foreground`) for a pattern table."""
    return make_foreground_encoder(
        check_config(config)["foreground"],
        num_patterns=table.num_patterns,
        num_categories=len(table.categories),
        axis_name=axis_name,
    )


def build_query_encoder(
    config: Mapping[str, Any], table: PatternTable, *, axis_name: str | None = None
) -> QueryEncoder:
    """The query encoder of a whole config (its `query`, and the embedding size of its `foreground`)."""
    config = check_config(config)
    uses_attributes = config["query"]["uses_attributes"]
    return make_query_encoder(
        config["query"],
        num_categories=len(table.categories),
        category_of_pattern=tuple(map(int, table.category_of_pattern)),
        num_attribute_values=len(table.attribute_values) if uses_attributes else 0,
        embedding_size=config["foreground"]["embedding_size"],
        axis_name=axis_name,
    )


def init_foreground(key: jax.Array, config: Mapping[str, Any], table: PatternTable) -> dict[str, Any]:
    """Initial variables of the foreground encoder; its backbone starts from `init_weights` where the config has any."""
    config = check_config(config)
    return with_public_weights(run_once(lambda k: _fresh_foreground(k, config, table), key), config["foreground"])


def init_query(key: jax.Array, config: Mapping[str, Any], table: PatternTable) -> dict[str, Any]:
    """Initial variables of the query encoder; its backbones start from `init_weights` where the config has any."""
    config = check_config(config)
    return with_public_weights(run_once(lambda k: _fresh_query(k, config, table), key), config["query"])


def check_networks(config: Mapping[str, Any]) -> None:
    """Checks the networks that a config describes and that the public weights they start from are there.

    Raises:
      InputError: a wrong field, a file that is absent, or a package that is not installed, by name.
    """
    for name, fields in check_config(config).items():
        if isinstance(fields, Mapping) and fields.get("init_weights"):
            from fos_jax.encoders.convert import weights_path

            path = weights_path(fields["backbone"], fields["init_weights"])
            if not path.is_file():
                raise InputError(f"config: {name}.init_weights: {path}: no such file, expected public weights")


def abstract_variables(config: Mapping[str, Any], table: PatternTable, *, has_query: bool) -> dict[str, Any]:
    """Shapes and dtypes of the variables by network: "foreground", "query", and extra ones; nothing is computed."""
    config, key = check_config(config), jax.random.key(0)
    fresh: dict[str, Callable[..., dict[str, Any]]] = {"foreground": _fresh_foreground}
    if has_query:
        extra = [name for name in extras.names(extras.NETWORKS) if name in config]
        fresh |= {"query": _fresh_query, **{name: extras.load(extras.NETWORKS, name).fresh for name in extra}}
    return {name: jax.eval_shape(lambda k, f=f: f(k, config, table), key) for name, f in fresh.items()}


def run_once(function: Callable[[jax.Array], Any], key: jax.Array) -> Any:
    """Runs a function that runs only once: compiled without optimisation, it is ready in a quarter of the time."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})(key)


def run_in_batches(
    step: Callable[..., Sequence[jax.Array]],
    arrays: Sequence[np.ndarray],
    *,
    batch_size: int,
    description: str = "",
    unit: str = "image",
) -> list[np.ndarray]:
    """Outputs of all rows by a step that is compiled once: the last batch is padded and the padding cut off again.

    Args:
      step: arrays [batch_size, ...] -> arrays [batch_size, ...], row by row.
      arrays: its arguments for all rows, [n, ...]; memory-mapped ones are read a batch at a time. Also of no rows: what
        a padded batch gives is then the shape of the result.
      batch_size: rows at a time.
      description: of the progress bar; none where it is empty. unit: of the bar.

    Returns:
      numpy arrays [n, ...].

    Raises:
      ValueError: arrays of unequal length.
    """
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) != 1:
        raise ValueError(f"arrays have lengths {lengths}, expected one length")
    outputs = []
    with tqdm(total=lengths[0], desc=description, disable=not description, unit=unit) as bar:
        for start in range(0, max(lengths[0], 1), batch_size):
            batch = [np.asarray(array[start : start + batch_size]) for array in arrays]
            rows = len(batch[0])
            padded = [np.pad(x, [(0, batch_size - rows)] + [(0, 0)] * (x.ndim - 1)) for x in batch]
            outputs.append([np.asarray(x)[:rows] for x in step(*padded)])
            bar.update(rows)
    return [np.concatenate(parts) for parts in zip(*outputs, strict=True)]


def _fresh_foreground(key: jax.Array, config: Mapping[str, Any], table: PatternTable) -> dict[str, Any]:
    size = config["foreground"]["image_size"]
    image, category = jnp.zeros((1, size, size, 4), jnp.uint8), jnp.zeros((1,), jnp.int32)
    return dict(build_foreground_encoder(config, table).init(key, image, category))


def _fresh_query(key: jax.Array, config: Mapping[str, Any], table: PatternTable) -> dict[str, Any]:
    size = config["query"]["image_size"]
    image = jnp.zeros((1, size, size, 3), jnp.uint8)
    box = jnp.array([[0.25, 0.25, 0.75, 0.75]], jnp.float32)
    return dict(build_query_encoder(config, table).init(key, image, box, jnp.zeros((1,), jnp.int32)))


def with_public_weights(variables: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Replaces every backbone (one per view) by the public weights that the config names.

    Args:
      variables: of one encoder.
      fields: `config.foreground` or `config.query` with its defaults; unchanged variables where `init_weights` is "".

    Raises:
      InputError: the file cannot be read, or does not fit the backbone.
    """
    variables = {collection: dict(modules) for collection, modules in variables.items()}
    path = fields["init_weights"]
    if not path:
        return variables
    from fos_jax.encoders.convert import convert_backbone, read_state_dict, weights_path

    path = weights_path(fields["backbone"], path)
    state_dict = read_state_dict(path)
    for module in [name for name in variables["params"] if name.startswith("backbone")]:
        size = (fields.get("crop_size") if module == "backbone_crop" else None) or fields["image_size"]
        converted = convert_backbone(fields["backbone"], state_dict, image_size=size, where=str(path))
        for collection, arrays in converted.items():
            variables[collection][module] = jax.tree.map(jnp.asarray, arrays)
    return variables
