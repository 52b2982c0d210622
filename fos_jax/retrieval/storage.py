"""A gallery's folder: its manifest with sizes and checksums, and its blobs."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fos_jax.errors import InputError
from fos_jax.files import published_directory

MANIFEST = "manifest.json"
FORMAT = "fos_jax gallery"
FORMAT_VERSION = 1


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
def new_gallery(gallery: str | Path) -> Iterator[Path]:
    """A folder to build in, which becomes the gallery when the block ends; see `publish.published_directory`.

    Raises:
      InputError: the path is a file or a folder that is no gallery (it would be replaced), or the disk refuses.
    """
    gallery = Path(gallery)
    if gallery.is_dir() and any(gallery.iterdir()):
        try:
            is_gallery = json.loads((gallery / MANIFEST).read_bytes())["format"] == FORMAT
        except (OSError, ValueError, KeyError, TypeError):
            is_gallery = False
        if not is_gallery:
            raise InputError(f"{gallery}: holds other files, expected a gallery, an empty folder or nothing")
    with published_directory(gallery) as aside:
        yield aside


def write_manifest(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Writes the manifest of a finished build and returns it with format, files, sizes and checksums added."""
    files = {
        path.relative_to(folder).as_posix(): _measure(path) for path in sorted(folder.rglob("*")) if path.is_file()
    }
    full = {"format": FORMAT, "format_version": FORMAT_VERSION, **manifest, "files": files}
    (folder / MANIFEST).write_text(json.dumps(full, indent=1), "utf-8")
    return full


def read_manifest(gallery: str | Path, *, verify: bool = False) -> dict[str, Any]:
    """The manifest, once every file that it lists is there.

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
        files = dict(manifest["files"])
        for name in ("fingerprint", "path", "relative_path"):
            str(manifest["bundle"][name])
    except FileNotFoundError:
        raise InputError(f"{gallery}: no gallery there ({MANIFEST} is missing)") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not a gallery's manifest ({type(error).__name__}: {error})") from None
    for name, expected in files.items():
        file = path.parent / name
        if not file.is_file():
            raise InputError(f"{file}: missing, though {path} lists it")
        if file.stat().st_size != expected["bytes"]:
            raise InputError(f"{file}: {file.stat().st_size} bytes, expected {expected['bytes']}")
        if verify and _measure(file)["sha256"] != expected["sha256"]:
            raise InputError(f"{file}: its checksum differs from the one in {path}")
    return manifest


def _measure(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
        return {"bytes": file.tell(), "sha256": digest.hexdigest()}
