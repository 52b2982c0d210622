"""A gallery's folder: built aside, published by one rename, checked when it is opened.

    <gallery>/manifest.json       names the folder that counts, with sizes and checksums of its files
    <gallery>/data-<random>/...   one build

Replacing `manifest.json` is the one rename that publishes a build. Until then the previous build is whole; whatever a
killed build leaves is a `data-...` folder that no manifest names, and the next build removes it.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fos_jax.errors import InputError

MANIFEST = "manifest.json"
FORMAT = "fos_jax gallery"
FORMAT_VERSION = 1
_LOCK = ".lock"


class Blob:
    """Many byte strings in one file, read at any place without loading it; safe to share between threads."""

    def __init__(self, path: str | Path):
        self._file = open(path, "rb")  # noqa: SIM115 - lives as long as the gallery

    def read(self, offset: int, length: int) -> bytes:
        """`InputError` where the file ends earlier."""
        data = os.pread(self._file.fileno(), length, offset)
        if len(data) != length:
            raise InputError(f"{self._file.name}: ends at {offset + len(data)}, expected {offset + length} bytes")
        return data

    def close(self) -> None:
        self._file.close()


@contextlib.contextmanager
def new_build(gallery: str | Path) -> Iterator[Path]:
    """An empty folder for a build; leftovers of killed builds are removed before, a failed build's own after.

    Raises:
      InputError: the path is a file or somebody else's folder, another build runs there, or the disk refuses (its
        reason is told; the previous build stays).
    """
    gallery = Path(gallery)
    try:
        _check_folder(gallery)
        gallery.mkdir(parents=True, exist_ok=True)
        with open(gallery / _LOCK, "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # goes with the process, even a killed one
            except OSError:
                raise InputError(f"{gallery}: another build is writing this gallery") from None
            remove_unpublished(gallery)
            data = gallery / f"data-{uuid.uuid4().hex[:12]}"
            data.mkdir()
            try:
                yield data
            finally:
                remove_unpublished(gallery)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"{gallery}: the gallery cannot be written ({reason}); what was there before is whole"
        ) from error


def publish(gallery: str | Path, data: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Makes `data` the build that counts and returns the manifest as written: with format, files and checksums."""
    gallery = Path(gallery)
    files = {path.relative_to(data).as_posix(): _measure(path) for path in sorted(data.rglob("*")) if path.is_file()}
    full = {"format": FORMAT, "format_version": FORMAT_VERSION, "data": data.name, **manifest, "files": files}
    temporary = data / MANIFEST
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(full, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(data)
    os.replace(temporary, gallery / MANIFEST)
    _sync_folder(gallery)
    return full


def read_manifest(gallery: str | Path, *, verify: bool = False) -> dict[str, Any]:
    """The manifest of the build that counts.

    Args:
      verify: read every file and compare checksums; otherwise only presence and sizes are checked.

    Raises:
      InputError: no gallery, another format, or a file that is missing, has another size, or other contents.
    """
    path = Path(gallery) / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        if manifest["format"] != FORMAT:
            raise InputError(f"{path}: format is {manifest['format']!r}, expected {FORMAT!r}")
        if manifest["format_version"] != FORMAT_VERSION:
            raise InputError(f"{path}: format_version is {manifest['format_version']!r}, expected {FORMAT_VERSION}")
        data, files = str(manifest["data"]), dict(manifest["files"])
    except FileNotFoundError:
        raise InputError(f"{gallery}: no gallery there ({MANIFEST} is missing)") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not a gallery's manifest ({type(error).__name__}: {error})") from None
    if Path(data).name != data:
        raise InputError(f"{path}: data is {data!r}, expected a folder beside the manifest")
    for name, expected in files.items():
        file = path.parent / data / name
        if not file.is_file():
            raise InputError(f"{file}: missing, though {path} lists it")
        if file.stat().st_size != expected["bytes"]:
            raise InputError(f"{file}: {file.stat().st_size} bytes, expected {expected['bytes']}")
        if verify and _measure(file)["sha256"] != expected["sha256"]:
            raise InputError(f"{file}: its checksum differs from the one in {path}")
    return manifest


def remove_unpublished(gallery: Path) -> None:
    """Removes every build but the one that the manifest names; none where the manifest is damaged."""
    try:
        published = json.loads((gallery / MANIFEST).read_bytes())["data"]
    except FileNotFoundError:
        published = None
    except (OSError, ValueError, KeyError, TypeError):
        return
    for path in gallery.glob("data-*"):
        if path.name != published:
            shutil.rmtree(path)


def _check_folder(gallery: Path) -> None:
    if gallery.exists() and not gallery.is_dir():
        raise InputError(f"{gallery}: is a file, expected a folder for the gallery")
    if gallery.is_dir():
        foreign = [p.name for p in gallery.iterdir() if p.name not in (MANIFEST, _LOCK) and p.name[:5] != "data-"]
        if foreign:
            raise InputError(f"{gallery}: holds {sorted(foreign)[0]!r}, expected a gallery or an empty folder")


def _measure(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
        os.fsync(file.fileno())
        return {"bytes": file.tell(), "sha256": digest.hexdigest()}


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
