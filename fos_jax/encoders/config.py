"""Configs of networks: fields, defaults and checks.

A config is a nested mapping (a plain dict or an ml_collections.ConfigDict); a field that is left out takes its default.
`check_config` completes and checks all of it, once: what builds or reads takes the checked config as it is.
"""

from collections.abc import Mapping
from typing import Any

from fos_jax.encoders import extras
from fos_jax.encoders.backbones import BACKBONES
from fos_jax.encoders.inputs import check_views
from fos_jax.errors import InputError

FOREGROUND_DEFAULTS: dict[str, Any] = {
    "backbone": "small",
    "embedding_size": 128,
    "image_size": 64,  # px
    "dtype": "float32",
    "posterior_scale": 16.0,  # inverse temperature of p(pattern | foreground), on cosines
    "init_weights": "",  # public weights to start the backbone from: a .safetensors or .pth file, or "package"
    "tuned": "all",  # what of the backbone is trained: "all", its "last" stage or blocks, or "none"
    "fusion": "none",  # of image and category: "none", or one that is registered
    "fusion_size": 2048,
}

QUERY_DEFAULTS: dict[str, Any] = {
    "backbone": "small",
    "image_size": 64,  # px
    "views": ("frame",),
    "crop_size": None,  # px; None for image_size
    "crop_context": 2.0,
    "hidden_size": 256,
    "condition_size": 64,
    "dtype": "float32",
    "posterior": "head",  # of patterns, from the "head" or, where none was trained, from cosines to the "prototypes"
    "flat_scale": 1.0,  # calibration of p(pattern | query), found on the validation split
    "factorised_scale": 1.0,
    "init_weights": "",
    "tuned": "all",
    "fusion": "film",  # of image and condition: "film", or one that is registered
    "fusion_size": 2048,
    "uses_category": True,  # whether the category conditions the query
    "uses_attributes": True,  # whether there is a head for the patterns' attributes, where they have any
    "readout": "head",  # embedding from a "head" of its own, or read out of the pattern posterior: "patterns"
}

# Came after the first bundles: at their defaults they take no part in a fingerprint, so that those stay what they were.
LATER_FIELDS = ("fusion", "fusion_size", "uses_category", "uses_attributes", "readout", "tuned")

_INTEGERS = ("embedding_size", "image_size", "crop_size", "hidden_size", "condition_size", "fusion_size")
_NUMBERS = ("posterior_scale", "crop_context", "flat_scale", "factorised_scale")
POSTERIORS = ("head", "prototypes")
_READOUTS = ("head", "patterns")
TUNED = ("all", "last", "none")
_DTYPES = ("float32", "bfloat16")


class CheckedConfig(dict[str, Any]):
    """A config whose sections of networks are complete and right."""


def check_config(config: Mapping[str, Any], *, where: str = "config") -> CheckedConfig:
    """Completes and checks the sections of networks that a config has; other sections are kept as they are.

    Args:
      config: with some of `foreground`, `query` and the extra networks that are registered (`extras`).
      where: for messages.

    Raises:
      InputError: a section that is no mapping, an unknown or a wrong field, by name.
    """
    if isinstance(config, CheckedConfig):
        return config
    plain = CheckedConfig(config.to_dict() if hasattr(config, "to_dict") else config)
    complete = {"foreground": complete_foreground, "query": complete_query}
    for name in plain:
        if name in complete or name in extras.names(extras.NETWORKS):
            if not isinstance(plain[name], Mapping):
                raise InputError(f"{where}: {name} is {plain[name]!r}, expected a mapping of fields")
            function = complete.get(name) or extras.load(extras.NETWORKS, name).complete
            plain[name] = function(plain[name], where=f"{where}: {name}")
    return plain


def complete_foreground(config: Mapping[str, Any], *, where: str = "config: foreground") -> dict[str, Any]:
    """`config.foreground` with its defaults; `InputError` names `where` and the unknown or wrong field."""
    fields = _complete(config, FOREGROUND_DEFAULTS, where)
    return _with_fusion(fields, "none", where)


def complete_query(config: Mapping[str, Any], *, where: str = "config: query") -> dict[str, Any]:
    """`config.query` with its defaults; `InputError` names `where` and the unknown or wrong field."""
    fields = _complete(config, QUERY_DEFAULTS, where)
    _one_of(fields, "posterior", POSTERIORS, where)
    _with_fusion(fields, "film", where)
    _one_of(fields, "readout", _READOUTS, where)
    for name in ("uses_category", "uses_attributes"):
        if not isinstance(fields[name], bool):
            raise InputError(f"{where}.{name}: {fields[name]!r}, expected True or False")
    views = check_views(fields["views"])
    if fields["fusion"] != "film" and not views:
        raise InputError(f"{where}.views: none, expected at least one for {fields['fusion']} fusion")
    return {**fields, "views": views}


def without_later_defaults(fields: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as a fingerprint sees them: `LATER_FIELDS` at their defaults are left out."""
    return {k: v for k, v in fields.items() if k not in LATER_FIELDS or v != defaults[k]}


def _with_fusion(fields: dict[str, Any], plain: str, where: str) -> dict[str, Any]:
    """Fields whose fusion is the plain one, or a registered one: those are looked up only where one is named."""
    if fields["fusion"] == plain:
        return fields
    return _one_of(fields, "fusion", (plain, *extras.names(extras.FUSIONS)), where)


def _one_of(fields: dict[str, Any], name: str, choices: tuple[str, ...], where: str) -> dict[str, Any]:
    if fields[name] not in choices:
        raise InputError(f"{where}.{name}: {fields[name]!r}, expected one of {', '.join(choices)}")
    return fields


def _complete(config: Mapping[str, Any], defaults: dict[str, Any], where: str) -> dict[str, Any]:
    given = dict(config.items())
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise InputError(f"{where}: unknown field {unknown[0]!r}, expected some of {', '.join(defaults)}")
    fields = {**defaults, **given}
    for name, value in fields.items():
        if value is None and defaults[name] is None:
            continue
        if name in _INTEGERS and not (isinstance(value, int) and not isinstance(value, bool) and value > 0):
            raise InputError(f"{where}.{name}: {value!r}, expected a positive integer")
        if name in _NUMBERS and not (isinstance(value, int | float) and 0 < value < float("inf")):
            raise InputError(f"{where}.{name}: {value!r}, expected a positive number")
    if fields["dtype"] not in _DTYPES:
        raise InputError(f"{where}.dtype: {fields['dtype']!r}, expected one of {', '.join(_DTYPES)}")
    if fields["backbone"] not in BACKBONES:
        raise InputError(f"{where}.backbone: {fields['backbone']!r}, expected one of {', '.join(BACKBONES)}")
    return _one_of(fields, "tuned", TUNED, where)
