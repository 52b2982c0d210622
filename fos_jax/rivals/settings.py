"""Sections of a rival's config, checked field by field, and the steps of a rival that trains in stages."""

from collections.abc import Mapping
from typing import Any

import ml_collections

from fos_jax.errors import InputError

NUMBER = (int, float)
_CALLED: dict[Any, str] = {bool: "True or False", int: "an integer", NUMBER: "a number", str: "a text"}


def checked(section: Mapping[str, Any], where: str, **types: type | tuple[type, ...]) -> dict[str, Any]:
    """The fields of a section as a dict.

    Args:
      section: of a config.
      where: its name, for messages.
      **types: field -> bool, int, str or NUMBER.

    Raises:
      InputError: a field that is unknown, missing or of another type.
    """
    given = dict(section.items())
    for name in sorted(set(given) ^ set(types)):
        what = "unknown" if name in given else "missing"
        raise InputError(f"config: {where}.{name}: {what}, expected exactly {', '.join(types)}")
    for name, expected in types.items():
        value = given[name]
        if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
            raise InputError(f"config: {where}.{name}: {value!r}, expected {_CALLED[expected]}")
    return given


def stage_config(config: Any, *, num_steps: int) -> ml_collections.ConfigDict:
    """The config with another number of steps; all else, seed and schedule included, is that of the run."""
    stage = ml_collections.ConfigDict(config.to_dict())
    stage.training.num_steps = num_steps
    return stage


def remaining_steps(config: Any, first_steps: int, field: str) -> int:
    """Steps of `training.num_steps` that a first stage leaves; `InputError` where it has none or leaves none."""
    num_steps = config.training.num_steps
    if not 0 < first_steps < num_steps:
        raise InputError(
            f"config: {field}: {first_steps!r}, expected more than 0 and less than training.num_steps, {num_steps}"
        )
    return num_steps - first_steps
