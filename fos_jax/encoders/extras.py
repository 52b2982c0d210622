"""Networks and fusions that a bundle may hold beside its two encoders, brought by who trains them.

They are entry points: a package lists them in its pyproject.toml, and a module is loaded when a config names what it
brings. Group "fos_jax.networks": section of a config -> `ExtraNetwork`. Group "fos_jax.fusions": value of an encoder's
`fusion` -> function of pooled features [B, m], condition [B, n] and the keyword `size`, to float32 [B, size].
"""

import functools
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, NamedTuple

NETWORKS = "fos_jax.networks"
FUSIONS = "fos_jax.fusions"


class ExtraNetwork(NamedTuple):
    """A network that a bundle holds under the name of its config section.

    Attributes:
      complete: (section, keyword `where`) -> all fields, checked; raises `InputError`.
      fresh: (key, checked config, pattern table) -> initial variables; traceable.
    """

    complete: Callable[..., dict[str, Any]]
    fresh: Callable[[Any, Mapping[str, Any], Any], dict[str, Any]]


@functools.cache
def names(group: str) -> tuple[str, ...]:
    """What is registered in a group; nothing is loaded."""
    return tuple(sorted({entry.name for entry in entry_points(group=group)}))


@functools.cache
def load(group: str, name: str) -> Any:
    """What is registered under a name; `KeyError` where nothing is."""
    for entry in entry_points(group=group, name=name):
        return entry.load()
    raise KeyError(f"{group}: {name!r} is not registered, expected one of {', '.join(names(group))}")
