"""The fields of `config.foreground` and `config.query`, their defaults and their checks.

Configs are nested mappings (a plain dict or an ml_collections.ConfigDict); a field that is left out takes its default.
"""

from collections.abc import Mapping
from typing import Any

from fos_jax.encoders.backbones import BACKBONES
from fos_jax.encoders.inputs import check_views
from fos_jax.errors import InputError

FOREGROUND_DEFAULTS: dict[str, Any] = {
    "backbone": "small",
    "embedding_size": 128,
    "image_size": 64,  # px
    "dtype": "float32",
    "posterior_scale": 16.0,  # inverse temperature of p(pattern | foreground), on cosines
    "init_weights": "",  # public weights to start the backbone from: a .safetensors or .pth file
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
}

_INTEGERS = ("embedding_size", "image_size", "crop_size", "hidden_size", "condition_size")
_NUMBERS = ("posterior_scale", "crop_context", "flat_scale", "factorised_scale")
POSTERIORS = ("head", "prototypes")
_DTYPES = ("float32", "bfloat16")


def complete_foreground(config: Mapping[str, Any], *, where: str = "config: foreground") -> dict[str, Any]:
    """`config.foreground` with its defaults; `InputError` names `where` and the unknown or wrong field."""
    return _complete(config, FOREGROUND_DEFAULTS, where)


def complete_query(config: Mapping[str, Any], *, where: str = "config: query") -> dict[str, Any]:
    """`config.query` with its defaults; `InputError` names `where` and the unknown or wrong field."""
    fields = _complete(config, QUERY_DEFAULTS, where)
    if fields["posterior"] not in POSTERIORS:
        raise InputError(f"{where}.posterior: {fields['posterior']!r}, expected one of {', '.join(POSTERIORS)}")
    return {**fields, "views": check_views(fields["views"])}


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
    return fields
