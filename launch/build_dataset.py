"""Builds a data set in both its configs, foregrounds and queries; what is built already is left alone.

Example: python -m fos_jax.launch.build_dataset --dataset=fos_synthetic --size=demo --data_dir=data
"""

import importlib
import time

from absl import flags, logging
from fos_jax.launch.program import run_program

from fos_jax.errors import InputError

_DATASET = flags.DEFINE_string("dataset", "fos_synthetic", "Name of the data set.")
_SIZE = flags.DEFINE_string("size", "demo", "First part of the configs' names, such as tiny, demo or full.")
_DATA_DIR = flags.DEFINE_string("data_dir", "data", "TFDS data directory to build into.")

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


def build(dataset: str, size: str, data_dir: str) -> list[str]:
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
        start = time.monotonic()
        builder = cls(config=f"{size}_{kind}", data_dir=data_dir, file_format="array_record")
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False),
            file_format="array_record",
        )
        logging.info("%s: ready in %.1f s", builder.data_path, time.monotonic() - start)
        paths.append(str(builder.data_path))
    return paths


def main() -> None:
    logging.set_verbosity(logging.INFO)
    for path in build(_DATASET.value, _SIZE.value, _DATA_DIR.value):
        print(path)


def run() -> None:
    run_program(main)


if __name__ == "__main__":
    run()
