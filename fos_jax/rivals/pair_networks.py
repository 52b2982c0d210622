"""Networks that judge pairs of a query and a foreground, as bundles hold them beside the two encoders.

"interaction" works on the features of both encoders, "composite" on the composite itself; `disco` trains them. They
are registered as entry points of the group "fos_jax.networks" (`encoders.extras`).
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from fos_jax.encoders.backbones import BACKBONES
from fos_jax.encoders.build import build_foreground_encoder, build_query_encoder, run_once, with_public_weights
from fos_jax.encoders.config import check_config
from fos_jax.encoders.extras import ExtraNetwork
from fos_jax.errors import InputError
from fos_jax.pattern_table import PatternTable
from fos_jax.rivals.composite import CompositeDiscriminator
from fos_jax.rivals.interaction import InteractionNetwork, apply_with_map

INTERACTION = "interaction"
COMPOSITE = "composite"
PAIR_NETWORKS = (INTERACTION, COMPOSITE)
PAIR_DEFAULTS: dict[str, dict[str, Any]] = {
    INTERACTION: {"feature_size": 128, "hidden_size": 96, "side": 6, "context": 2.0},
    COMPOSITE: {
        "backbone": "small",
        "feature_size": 128,
        "condition_size": 64,
        "dtype": "float32",
        "init_weights": "",  # public weights to start the backbone from: a .safetensors or .pth file
    },
}
_CHOICES = {"backbone": BACKBONES, "dtype": ("float32", "bfloat16")}


def complete_pair_network(name: str, config: Mapping[str, Any], *, where: str = "config") -> dict[str, Any]:
    """`config.interaction` or `config.composite` with its defaults.

    Args:
      name: "interaction" or "composite".
      config: the section.
      where: for messages.

    Raises:
      InputError: an unknown or wrong field, by name.
    """
    defaults, given = PAIR_DEFAULTS[name], dict(config.items())
    for field in sorted(set(given) - set(defaults)):
        raise InputError(f"{where}: {name}: unknown field {field!r}, expected some of {', '.join(defaults)}")
    fields = {**defaults, **given}
    for field, value in fields.items():
        expected = type(defaults[field])
        if field in _CHOICES:
            if value not in _CHOICES[field]:
                raise InputError(f"{where}: {name}.{field}: {value!r}, expected one of {', '.join(_CHOICES[field])}")
        elif expected is str:
            if not isinstance(value, str):
                raise InputError(f"{where}: {name}.{field}: {value!r}, expected a text")
        else:
            is_number = isinstance(value, int if expected is int else int | float) and not isinstance(value, bool)
            if not (is_number and 0 < value < float("inf")):
                what = "a positive integer" if expected is int else "a positive number"
                raise InputError(f"{where}: {name}.{field}: {value!r}, expected {what}")
    return fields


def _complete_section(name: str, config: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    return complete_pair_network(name, config, where=where.removesuffix(f": {name}"))


def build_interaction(config: Mapping[str, Any]) -> InteractionNetwork:
    """The network that a whole config's `interaction` describes; `InputError` where the query encoder has no map."""
    config = check_config(config)
    views = config["query"]["views"]
    if "frame" not in views:
        raise InputError(f"config: query.views: {', '.join(views) or 'none'}, expected 'frame' for an interaction")
    return InteractionNetwork(**config[INTERACTION])


def build_composite(
    config: Mapping[str, Any], table: PatternTable, *, axis_name: str | None = None
) -> CompositeDiscriminator:
    """The discriminator that a whole config's `composite` describes."""
    fields = check_config(config)[COMPOSITE]
    return CompositeDiscriminator(
        num_categories=len(table.categories),
        feature_size=fields["feature_size"],
        backbone=fields["backbone"],
        condition_size=fields["condition_size"],
        dtype=fields["dtype"],
        axis_name=axis_name,
    )


def init_pair_network(name: str, key: jax.Array, config: Mapping[str, Any], table: PatternTable) -> dict[str, Any]:
    """Initial variables of "interaction" or "composite"; a backbone starts from `init_weights` where there are any."""
    config = check_config(config)
    variables = run_once(lambda k: _fresh(name, k, config, table), key)
    if name == INTERACTION:
        return variables
    return with_public_weights(variables, {**config[COMPOSITE], "image_size": config["query"]["image_size"]})


def _fresh(name: str, key: jax.Array, config: Mapping[str, Any], table: PatternTable) -> dict[str, Any]:
    sizes = {part: config[part]["image_size"] for part in ("query", "foreground")}
    image = jnp.zeros((1, sizes["query"], sizes["query"], 3), jnp.uint8)
    foreground = jnp.zeros((1, sizes["foreground"], sizes["foreground"], 4), jnp.uint8)
    box, category = jnp.array([[0.25, 0.25, 0.75, 0.75]], jnp.float32), jnp.zeros((1,), jnp.int32)
    if name == COMPOSITE:
        return dict(build_composite(config, table).init(key, image, box, category, foreground))

    def outputs(key: jax.Array) -> tuple[jax.Array, ...]:
        """What the interaction reads; only the shapes are wanted."""
        found: list[jax.Array] = []
        for encoder, inputs in (
            (build_query_encoder(config, table), (image, box, category)),
            (build_foreground_encoder(config, table), (foreground, category)),
        ):
            output, features, _ = apply_with_map(encoder, encoder.init(key, *inputs), *inputs)
            found += [features, output.embedding]
        return tuple(found)

    query_map, query, foreground_map, of_foreground = (
        jnp.zeros(x.shape, x.dtype) for x in jax.eval_shape(outputs, key)
    )
    return dict(build_interaction(config).init(key, query_map, box, query, foreground_map, of_foreground))


INTERACTION_NETWORK, COMPOSITE_NETWORK = (
    ExtraNetwork(functools.partial(_complete_section, name), functools.partial(_fresh, name)) for name in PAIR_NETWORKS
)
