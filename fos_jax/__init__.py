"""Foreground object search for image composition: which cut-outs fit a rectangle of a photograph, and why.

`import fos_jax` itself loads nothing heavy; the names below load JAX and the rest when they are first used.
"""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from fos_jax.encoders.bundle import Bundle as Bundle
    from fos_jax.errors import InputError as InputError
    from fos_jax.experts.loading import load as load
    from fos_jax.pattern_table import PatternTable as PatternTable
    from fos_jax.retrieval.search import ForegroundSearch as ForegroundSearch

_LAZY = {
    "Bundle": ("fos_jax.encoders.bundle", "Bundle"),
    "ForegroundSearch": ("fos_jax.retrieval.search", "ForegroundSearch"),
    "InputError": ("fos_jax.errors", "InputError"),
    "PatternTable": ("fos_jax.pattern_table", "PatternTable"),
    "load": ("fos_jax.experts.loading", "load"),
}

__all__ = ["Bundle", "ForegroundSearch", "InputError", "PatternTable", "__version__", "load"]


def __getattr__(name: str):
    """Loads a public name on first use (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module 'fos_jax' has no attribute {name!r}")
    module, attribute = _LAZY[name]
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
