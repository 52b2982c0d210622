"""Sections of a rival's config: their fields are known, all there, and of the right type."""

from collections.abc import Mapping
from typing import Any

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

    Source: design decision.
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
