"""Tensors of PyTorch's files without PyTorch, and without running what a file says.

A file of `torch.save` is a pickle that names functions to call. Here an unpickler knows the few names that build
tensors, each as a function of ours that makes a numpy array; any other name is refused before anything is called.
"""

import collections
import io
import math
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import ml_dtypes
import numpy as np

from fos_jax.errors import InputError

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES: dict[str, Any] = {
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}


class _Storage(NamedTuple):
    """A run of numbers that tensors are views of; `numbers` has one entry, filled in once the file's end is read."""

    dtype: Any
    length: int
    numbers: list[np.ndarray]


class _View(NamedTuple):
    """A tensor: place, shape and strides (in numbers) within a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        """A copy; `ValueError` where the view leaves its storage."""
        numbers = self.storage.numbers[0]
        counts = (self.offset, *self.shape, *self.strides)
        if len(self.shape) != len(self.strides) or not all(isinstance(n, int) and n >= 0 for n in counts):
            raise ValueError("a tensor with a negative or missing extent")
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        if math.prod(self.shape) and last >= len(numbers):
            raise ValueError("a tensor reaches beyond its storage")
        if not math.prod(self.shape):
            return np.zeros(self.shape, self.storage.dtype)
        if math.prod(self.shape) > len(numbers):
            raise ValueError("a tensor is larger than its storage")
        byte_strides = [s * numbers.itemsize for s in self.strides]
        return np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, byte_strides).copy()


def _rebuild_tensor(storage: Any, offset: int, shape: Any, strides: Any, *_: Any) -> _View:
    if not isinstance(storage, _Storage):
        raise ValueError("a tensor without a storage")
    return _View(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(data: Any, *_: Any) -> Any:
    return data


_ALLOWED: dict[tuple[str, str], Callable[..., Any] | str] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", name): name for name in _DTYPES},
}


class _Unpickler(pickle.Unpickler):
    """Builds containers, numbers, strings and tensors; nothing else."""

    def __init__(self, file: BinaryIO, storages: dict[str, _Storage]):
        super().__init__(file)
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise ValueError(f"it calls {module}.{name}, which is not of tensors") from None

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage_type, key, _location, count = pid[:5]
        if kind != "storage" or storage_type not in _DTYPES or not isinstance(count, int) or count < 0:
            raise ValueError("a storage of an unknown kind")
        if len(pid) > 5 and pid[5] is not None:
            raise ValueError("a storage that is part of another one")
        return self._storages.setdefault(str(key), _Storage(_DTYPES[storage_type], count, []))


def read_torch_file(path: str | Path) -> dict[str, np.ndarray]:
    """Arrays of a state dict that `torch.save` wrote, in its present (zip) or its first format, by name.

    Args:
      path: a .pth, .pt or .bin file; a dict under "state_dict" or "model" is unwrapped.

    Returns:
      name -> array in the stored dtype (bfloat16 of `ml_dtypes`).

    Raises:
      InputError: no such file, damaged, something else than named tensors, or a file that would have run code (what it
        calls is named).

    Source: torch/serialization.py, the two formats.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            loaded = _read_zip(file) if zipfile.is_zipfile(file) else _read_legacy(file)
        for wrapper in ("state_dict", "model"):
            if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
                loaded = loaded[wrapper]
        if not isinstance(loaded, Mapping) or not all(isinstance(x, _View) for x in loaded.values()):
            raise ValueError("something else than named tensors")
        return {str(name): view.array() for name, view in loaded.items()}
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:  # an unpickler raises nearly every type on damaged data
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: cannot be read as tensors alone ({reason[:200]}), expected a state dict") from None


def _read_zip(file: BinaryIO) -> Any:
    storages: dict[str, _Storage] = {}
    with zipfile.ZipFile(file) as archive:
        pickles = [name for name in archive.namelist() if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("no data.pkl inside")
        root = pickles[0].removesuffix("data.pkl")
        loaded = _Unpickler(io.BytesIO(archive.read(pickles[0])), storages).load()
        for key, storage in storages.items():
            if archive.getinfo(f"{root}data/{key}").file_size != storage.length * np.dtype(storage.dtype).itemsize:
                raise ValueError(f"storage {key} has another size than stated")
            storage.numbers.append(np.frombuffer(archive.read(f"{root}data/{key}"), storage.dtype))
    return loaded


def _read_legacy(file: BinaryIO) -> Any:
    file.seek(0)
    storages: dict[str, _Storage] = {}
    if _Unpickler(file, storages).load() != _LEGACY_MAGIC:
        raise ValueError("not a file of torch.save")
    for _ in range(2):  # protocol version, and the machine's number sizes
        _Unpickler(file, storages).load()
    loaded = _Unpickler(file, storages).load()
    for key in _Unpickler(file, {}).load():
        storage = storages[str(key)]
        count = int.from_bytes(file.read(8), "little")
        data = file.read(storage.length * np.dtype(storage.dtype).itemsize)
        if count != storage.length or len(data) != storage.length * np.dtype(storage.dtype).itemsize:
            raise ValueError(f"storage {key} is truncated")
        storage.numbers.append(np.frombuffer(data, storage.dtype))
    return loaded
