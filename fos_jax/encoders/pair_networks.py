"""Networks that judge pairs of a query and a foreground, which a bundle may hold beside its two encoders.

"interaction" works on the features of both encoders, "composite" on the composite itself. A config that has a section
of that name describes one; DiscoFOS trains them (`baselines.disco`).
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from fos_jax.encoders.backbones import BACKBONES
from fos_jax.encoders.build import build_foreground_encoder, build_query_encoder, run_once, with_public_weights
from fos_jax.encoders.config import complete_foreground, complete_query
from fos_jax.encoders.discriminator import CompositeDiscriminator
from fos_jax.encoders.interaction import InteractionNetwork, apply_with_map
from fos_jax.errors import InputError
from fos_jax.pattern_table import PatternTable

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

    Source: design decision.
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


def build_interaction(config: Mapping[str, Any]) -> InteractionNetwork:
    """The network that a whole config's `interaction` describes; `InputError` where the query encoder has no map."""
    views = complete_query(config["query"])["views"]
    if "frame" not in views:
        raise InputError(f"config: query.views: {', '.join(views) or 'none'}, expected 'frame' for an interaction")
    return InteractionNetwork(**complete_pair_network(INTERACTION, config[INTERACTION]))


def build_composite(
    config: Mapping[str, Any], table: PatternTable, *, axis_name: str | None = None
) -> CompositeDiscriminator:
    """The discriminator that a whole config's `composite` describes."""
    fields = complete_pair_network(COMPOSITE, config[COMPOSITE])
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
    variables = run_once(lambda k: _fresh(name, k, config, table), key)
    if name == INTERACTION:
        return variables
    fields = complete_pair_network(COMPOSITE, config[COMPOSITE])
    return with_public_weights(variables, {**fields, "image_size": complete_query(config["query"])["image_size"]})


def abstract_pair_variables(config: Mapping[str, Any], table: PatternTable) -> dict[str, Any]:
    """Shapes and dtypes of the variables of the pair networks that a whole config describes; nothing is computed."""
    key = jax.random.key(0)
    return {
        name: jax.eval_shape(lambda k, name=name: _fresh(name, k, config, table), key)
        for name in PAIR_NETWORKS
        if name in config
    }


def _fresh(name: str, key: jax.Array, config: Mapping[str, Any], table: PatternTable) -> dict[str, Any]:
    sizes = {part: complete(config[part])["image_size"] for part, complete in _COMPLETE.items()}
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


_COMPLETE = {"query": complete_query, "foreground": complete_foreground}
