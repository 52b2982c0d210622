"""Arrays computed once and kept on disk: a directory of .npy files, published whole or not at all."""

import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from absl import logging

_INDEX = "index.json"
_TEMPORARY = ".tmp-"


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

    Source: design decision.
    """
    if not re.fullmatch(r"[\w.\-]+", key):
        raise ValueError(f"key is {key!r}, expected letters, digits, '_', '-' and '.'")
    target = Path(directory) / key
    if (target / _INDEX).exists():
        return _read(target)
    arrays = {name: np.asarray(array) for name, array in compute().items()}
    try:
        _write(target, arrays)
    except OSError as error:
        logging.warning("%s: cannot be written (%s); going on without a cache", target, error)
        return arrays
    return _read(target)


def _read(target: Path) -> dict[str, np.ndarray]:
    names = json.loads((target / _INDEX).read_text("utf-8"))
    return {name: np.load(target / f"{name}.npy", mmap_mode="r") for name in names}


def _write(target: Path, arrays: Mapping[str, np.ndarray]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f"{_TEMPORARY}{target.name}-*"):  # of an interrupted computation of the same key
        shutil.rmtree(left, ignore_errors=True)
    aside = target.parent / f"{_TEMPORARY}{target.name}-{uuid.uuid4().hex[:8]}"
    try:
        aside.mkdir()
        for name, array in arrays.items():
            with open(aside / f"{name}.npy", "wb") as file:
                np.save(file, array, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
        with open(aside / _INDEX, "w", encoding="utf-8") as file:
            json.dump(sorted(arrays), file)
            file.flush()
            os.fsync(file.fileno())
        try:
            aside.rename(target)
        except OSError:
            if not (target / _INDEX).exists():  # otherwise another process was faster, with the same arrays
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
