"""Build data sets by their TFDS builders, and validate the files that some are made from."""

import importlib
import shutil
import time
from pathlib import Path

from absl import logging

from fos_jax.errors import InputError

KINDS = ("foregrounds", "queries")


def builder_class(name: str):
    """The builder of a data set of `fos_jax.datasets`; `InputError` for an unknown name."""
    module = f"fos_jax.datasets.{name}.{name}_dataset_builder"
    try:
        return importlib.import_module(module).Builder
    except ModuleNotFoundError as error:
        if not name.isidentifier() or module.startswith(error.name or "?"):
            raise InputError(f"dataset: unknown {name!r}, expected a folder of fos_jax/datasets") from None
        raise


def validate(dataset: str, size: str, manual_dir: str) -> list:
    """Every deviation of the files from what a data set expects; each prints as a line and has `is_error`.

    Raises:
      InputError: unknown data set or size, no such directory, or a data set that needs no files.
    """
    builder_class(dataset)
    try:
        layout = importlib.import_module(f"fos_jax.datasets.{dataset}.layout")
    except ModuleNotFoundError:
        raise InputError(f"dataset: {dataset} is made by code, nothing to validate") from None
    return layout.validate(manual_dir, sizes=[size], progress=True)


def build(dataset: str, size: str, data_dir: str, *, manual_dir: str | None = None) -> list[str]:
    """Builds both configs of one size and returns their directories.

    Raises:
      InputError: unknown data set or size.
    """
    import tensorflow_datasets as tfds

    cls = builder_class(dataset)
    if not {f"{size}_{k}" for k in KINDS} <= set(cls.builder_configs):
        known = sorted({n.rsplit("_", 1)[0] for n in cls.builder_configs})
        raise InputError(f"size: unknown {size!r}, expected one of {', '.join(known)}")
    paths = []
    for kind in KINDS:
        start, started = time.monotonic(), time.time()
        builder = cls(config=f"{size}_{kind}", data_dir=data_dir, file_format="array_record")
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False, manual_dir=manual_dir),
            file_format="array_record",
        )
        _remove_leftovers(Path(builder.data_path).parent, before=started)
        logging.info("%s: ready in %.1f s", builder.data_path, time.monotonic() - start)
        paths.append(str(builder.data_path))
    return paths


def _remove_leftovers(folder: Path, *, before: float) -> None:
    """Removes what killed builds left: TFDS's hidden folders in which nothing changed since `before` (Unix time)."""
    for left in folder.glob("incomplete.*"):
        if max(path.stat().st_mtime for path in [left, *left.rglob("*")]) < before:
            shutil.rmtree(left, ignore_errors=True)
