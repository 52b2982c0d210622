"""Loading of a model bundle of either kind, and of the one that comes with the package."""

import json
from pathlib import Path
from typing import Any

from fos_jax.errors import InputError

SHIPPED = Path(__file__).resolve().parent / "shipped"


def load(path: str | Path | None = None) -> Any:
    """Loads a model bundle; needs nothing but the directory.

    Args:
      path: of a bundle of `fos train` or of `fos experts train`; None for the one that comes with the package.

    Returns:
      `encoders.bundle.Bundle` or `experts.model.Experts`.

    Raises:
      InputError: not a bundle, damaged, or arrays that do not match its config (by name).

    Source: decision 18.
    """
    path = shipped() if path is None else Path(path)
    if is_experts(path):
        from fos_jax.experts.model import Experts

        return Experts.load(path)
    from fos_jax.encoders.bundle import load_bundle

    return load_bundle(path)


def is_experts(path: str | Path) -> bool:
    """Whether a folder says that it holds a bundle of experts."""
    try:
        return json.loads((Path(path) / "manifest.json").read_bytes()).get("kind") == "experts"
    except (OSError, ValueError, AttributeError):
        return False


def shipped() -> Path:
    """Folder of the bundle that comes with the package; `InputError` where it was left out."""
    if not SHIPPED.is_dir():
        raise InputError(f"{SHIPPED}: no such folder, expected the bundle that comes with the package; name one")
    return SHIPPED
