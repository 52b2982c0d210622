"""Arrays computed once and kept on disk: a directory of .npy files, published whole or not at all."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from absl import logging

from fos_jax.errors import InputError
from fos_jax.files import published_directory

_INDEX = "index.json"


def cached_arrays(
    directory: str | Path, key: str, compute: Callable[[], Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Arrays of `<directory>/<key>`, computed and written there if they are not yet.

    They are written aside, flushed and published by one rename, so an interrupted computation leaves nothing that a
    later one reads. Where the directory cannot be written, the arrays are computed and returned without a cache.

    Args:
      directory: folder of caches; made if missing.
      key: file-name-safe text that names everything the arrays depend on.
      compute: returns name -> array; called only when the cache is absent.

    Returns:
      name -> array, read-only and memory-mapped where it comes from disk.

    Raises:
      ValueError: `key` is not safe as a file name.

    Source: decision 17.
    """
    if not re.fullmatch(r"[\w.\-]+", key):
        raise ValueError(f"key is {key!r}, expected letters, digits, '_', '-' and '.'")
    target = Path(directory) / key
    if (target / _INDEX).exists():
        return _read(target)
    arrays = {name: np.asarray(array) for name, array in compute().items()}
    try:
        with published_directory(target) as aside:
            for name, array in arrays.items():
                np.save(aside / f"{name}.npy", array, allow_pickle=False)
            (aside / _INDEX).write_text(json.dumps(sorted(arrays)), "utf-8")
    except InputError as error:
        logging.warning("%s; going on without a cache", error)
        return arrays
    return _read(target)


def _read(target: Path) -> dict[str, np.ndarray]:
    names = json.loads((target / _INDEX).read_text("utf-8"))
    return {name: np.load(target / f"{name}.npy", mmap_mode="r") for name in names}
