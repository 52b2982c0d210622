"""The model bundle on disk: a directory that training leaves and everything else loads.

config.json    the resolved config, plain JSON
patterns.json  the pattern table
metrics.json   what the model was measured at
versions.json  the packages that wrote it
manifest.json  format version and fingerprint
variables/     an Orbax checkpoint of all arrays
"""

import hashlib
import json
import os
import platform
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import traverse_util

from fos_jax.encoders import extras
from fos_jax.encoders.build import abstract_variables
from fos_jax.encoders.config import (
    FOREGROUND_DEFAULTS,
    QUERY_DEFAULTS,
    CheckedConfig,
    check_config,
    without_later_defaults,
)
from fos_jax.errors import InputError
from fos_jax.files import published_directory
from fos_jax.pattern_table import PatternTable

FORMAT_VERSION = 1
_PACKAGES = ("fos-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
_COLLECTIONS = ("params", "batch_stats")
_SHOWN = 3  # names in a message, of possibly hundreds


def save_bundle(
    path: str | Path,
    *,
    config: Mapping[str, Any],
    table: PatternTable,
    foreground_variables: Mapping[str, Any],
    query_variables: Mapping[str, Any] | None = None,
    pair_variables: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> str:
    """Writes a bundle whole or not at all; one that is already there is replaced in one step.

    Args:
      path: directory to make.
      config: nested mapping with `foreground` and, where there is a query encoder, `query`; other fields are kept.
      table: the pattern table.
      foreground_variables: `params` and, where there are any, `batch_stats`.
      query_variables: the same; None for a teacher alone.
      pair_variables: the same of networks that judge pairs, by name ("interaction", "composite"); the config describes
        each in a section of that name, and sections without variables are left out.
      metrics: JSON values.

    Returns:
      The bundle's fingerprint.

    Raises:
      InputError: wrong config, arrays that do not match it (by name), or the disk refuses; nothing is left behind then.

    Source: decision 18.
    """
    from fos_jax.run_metadata import versions  # a search saves nothing

    given = {"query": query_variables, **(pair_variables or {})}
    more = {name: _collections(variables) for name, variables in given.items() if variables is not None}
    resolved = _resolved(config, parts=tuple(more), where="config")
    arrays = {"foreground": _collections(foreground_variables), **more}
    expected = abstract_variables(resolved, table, has_query=query_variables is not None)
    check_arrays(_shapes(arrays), _shapes(expected), str(path))
    fingerprint = _fingerprint(resolved, table, arrays)
    manifest = {"format_version": FORMAT_VERSION, "fingerprint": fingerprint}
    needed = sum(array.nbytes for array in jax.tree.leaves(arrays))
    with published_directory(path, needed_bytes=needed) as aside:
        _write_json(aside / "config.json", resolved)
        (aside / "patterns.json").write_text(table.to_json(), "utf-8")
        _write_json(aside / "metrics.json", metrics or {})
        _write_json(aside / "versions.json", {"python": platform.python_version(), **versions(_PACKAGES)})
        _write_json(aside / "manifest.json", manifest)
        _save_arrays(aside / "variables", arrays)
    return fingerprint


def read_bundle(path: str | Path) -> tuple[CheckedConfig, PatternTable, dict[str, Any], dict[str, Any], str]:
    """Reads and checks a bundle: config, pattern table, variables by encoder, metrics, fingerprint.

    Raises:
      InputError: not a bundle, of another format, arrays missing, extra or misshapen (by name), contents that do not
        match the fingerprint.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"{path}: no such directory, expected a model bundle")
    manifest = _read_json(path / "manifest.json")
    if manifest.get("format_version") != FORMAT_VERSION:
        found = manifest.get("format_version")
        raise InputError(f"{path / 'manifest.json'}: format_version is {found!r}, expected {FORMAT_VERSION}")
    raw = _read_json(path / "config.json")
    parts = [name for name in ("query", *extras.names(extras.NETWORKS)) if name in raw]
    config = _resolved(raw, parts=parts, where=str(path / "config.json"))
    table = PatternTable.read(path / "patterns.json")
    metrics = _read_json(path / "metrics.json")
    shapes, variables = _load_arrays(path / "variables")
    check_arrays(shapes, _shapes(abstract_variables(config, table, has_query="query" in config)), str(path))
    fingerprint = _fingerprint(config, table, variables)
    if fingerprint != manifest.get("fingerprint"):
        raise InputError(
            f"{path}: contents have fingerprint {fingerprint}, expected {manifest.get('fingerprint')} (manifest.json); "
            "the bundle was changed after it was written"
        )
    return config, table, variables, metrics, fingerprint


def check_arrays(found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]], where: str) -> None:
    """`InputError` that names what is missing, extra or misshapen."""
    misshapen = [
        f"{name} {list(found[name])} instead of {list(expected[name])}"
        for name in sorted(set(found) & set(expected))
        if tuple(found[name]) != tuple(expected[name])
    ]
    problems = [
        _listed("missing", sorted(set(expected) - set(found))),
        _listed("extra", sorted(set(found) - set(expected))),
        _listed("misshapen", misshapen),
    ]
    if any(problems):
        raise InputError(f"{where}: arrays do not match the config: {'; '.join(filter(None, problems))}")


def _listed(kind: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} {kind} ({', '.join(names[:_SHOWN])}{more})"


def _resolved(config: Mapping[str, Any], *, parts: Collection[str], where: str) -> CheckedConfig:
    """The checked config; of the optional sections it has those of `parts` only."""
    plain = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    for name in ("foreground", *parts):
        if not isinstance(plain.get(name), Mapping):
            raise InputError(f"{where}: {name} is {plain.get(name)!r}, expected a mapping of fields")
    left_out = {"query", *extras.names(extras.NETWORKS)} - set(parts)
    return check_config({name: value for name, value in plain.items() if name not in left_out}, where=where)


def _collections(variables: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: variables[name] for name in _COLLECTIONS if variables.get(name)}
    return jax.tree.map(np.asarray, jax.device_get(kept))


def _flat(tree: Mapping[str, Any]) -> dict[str, Any]:
    return traverse_util.flatten_dict(tree, sep="/")


def _shapes(tree: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(array.shape) for name, array in _flat(tree).items()}


def _fingerprint(config: Mapping[str, Any], table: PatternTable, arrays: Mapping[str, Any]) -> str:
    """Hex digest of what encodings and scores depend on: all networks' configs, the table, every array."""
    defaults: dict[str, dict[str, Any]] = {"foreground": FOREGROUND_DEFAULTS, "query": QUERY_DEFAULTS}
    defaults |= {name: {} for name in extras.names(extras.NETWORKS)}
    models = {name: without_later_defaults(config[name], defaults[name]) for name in defaults if name in config}
    digest = hashlib.sha256(json.dumps([models, table.fingerprint()], sort_keys=True).encode())
    for name, array in sorted(_flat(arrays).items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True), "utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}), expected a JSON object") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: holds a {type(value).__name__}, expected a JSON object")
    return value


def _save_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    try:
        with ocp.StandardCheckpointer(multiprocessing_options=_alone()) as checkpointer:
            checkpointer.save(path.absolute(), arrays)  # Orbax takes no relative path
    except (ValueError, RuntimeError) as error:  # how the storage layer reports what the operating system refused
        code = re.search(r"os_error_code='(\d+)'", str(error))
        raise OSError(os.strerror(int(code[1])) if code else _first_line(error)) from error


def _load_arrays(path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, Any]]:
    if not path.is_dir():
        raise InputError(f"{path}: no such directory, expected a checkpoint")
    try:
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(), multiprocessing_options=_alone()) as checkpointer:
            tree = checkpointer.metadata(path.absolute()).item_metadata.tree
            restore_args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
            arrays = checkpointer.restore(path.absolute(), restore_args=restore_args)
    except Exception as error:  # a damaged checkpoint raises whatever its layers happen to raise
        raise InputError(f"{path}: the checkpoint cannot be read ({_first_line(error)})") from error
    return _shapes(arrays), arrays


def _alone() -> ocp.options.MultiprocessingOptions:
    """On several hosts each reads a bundle, and one writes it, without waiting for the others."""
    this = jax.process_index()
    if jax.process_count() == 1:
        return ocp.options.MultiprocessingOptions()
    return ocp.options.MultiprocessingOptions(
        primary_host=this, active_processes={this}, barrier_sync_key_prefix=f"process_{this}"
    )


def _first_line(error: BaseException) -> str:
    lines: Iterable[str] = filter(None, (line.strip() for line in str(error).splitlines()))
    return next(iter(lines), type(error).__name__)[:200]
