"""Directories and files published whole or not at all."""

import contextlib
import ctypes
import errno
import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from fos_jax.errors import InputError

_ASIDE = ".partial-"
_REMOVALS = 100
_PAUSE_S = 0.05
_GONE = 10  # looks in a row at which a removed directory must still be gone


@contextlib.contextmanager
def published_directory(target: str | Path, *, needed_bytes: int = 0) -> Iterator[Path]:
    """Yields a new directory beside `target` that becomes `target` when the block ends without an exception.

    Everything is flushed to the disk, then renamed in one step; a directory that is already there is replaced. On any
    exception, what was written is removed and the earlier `target` stays as it was. A killed process leaves at most a
    hidden directory `.<name>.partial-*`, which the next publication of the same target removes.

    Args:
      target: the directory to make or replace.
      needed_bytes: free space that must be there before anything is written; a disk that is known to be too small is
        better refused at once than found full by whichever layer happens to write last.

    Raises:
      InputError: `target` is a file, or the operating system refuses (a full disk, no permission).

    Source: rename(2).
    """
    target = Path(target).absolute()
    if target.exists() and not target.is_dir():
        raise InputError(f"{target}: is a file, expected a directory or nothing")
    prefix = f".{target.name}{_ASIDE}"
    aside = target.parent / f"{prefix}{uuid.uuid4().hex[:8]}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for left in target.parent.glob(f"{prefix}*"):  # of a killed process
            shutil.rmtree(left, ignore_errors=True)
        free = shutil.disk_usage(target.parent).free
        if free < needed_bytes:
            raise OSError(errno.ENOSPC, f"No space left on device: {free:,} bytes free, {needed_bytes:,} needed")
        aside.mkdir()
        yield aside
        _flush(aside)
        _rename(aside, target)
    except BaseException as error:
        _remove(aside)
        if not isinstance(error, OSError):
            raise
        reason = ": ".join(filter(None, [error.strerror or str(error), error.filename and str(error.filename)]))
        raise InputError(f"{target}: cannot be written ({reason}); what was there before is unchanged") from error
    shutil.rmtree(aside, ignore_errors=True)  # holds the earlier `target` where the two were exchanged


@contextlib.contextmanager
def published_file(path: str | Path) -> Iterator[Path]:
    """Yields the path of a file to write beside `path`; it is flushed and renamed to `path` when the block ends.

    After an exception `path` is what it was. Folders on the way are made.

    Raises: InputError naming the file where the operating system refuses (full disk, no permission, a directory).
    """
    path = Path(path)
    aside = path.with_name(f".{path.name[:100]}{_ASIDE}{uuid.uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        _flush(aside)
        aside.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def write_whole(path: str | Path, contents: str | bytes) -> None:
    """Writes a file so that `path` is the old one or the whole new one; see `published_file`."""
    with published_file(path) as aside:
        aside.write_bytes(contents.encode("utf-8") if isinstance(contents, str) else contents)


def _remove(directory: Path) -> None:
    """Removes a tree that threads of a failed write may still be filling, or making anew, for a moment."""
    gone = 0
    for _ in range(_REMOVALS):
        shutil.rmtree(directory, ignore_errors=True)
        gone = 0 if directory.exists() else gone + 1
        if gone == _GONE:
            return
        time.sleep(_PAUSE_S)


def _flush(path: Path) -> None:
    """Forces a file, or a directory with all that is in it, to the disk, so that no rename outruns the contents."""
    for written in [*path.rglob("*"), path] if path.is_dir() else [path]:
        descriptor = os.open(written, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _rename(aside: Path, target: Path) -> None:
    if not target.exists():
        aside.rename(target)
    elif not _exchange(aside, target):
        # Without an atomic exchange there is a moment without `target`; its contents are never lost.
        old = aside.with_name(f"{aside.name}-old")
        target.rename(old)
        aside.rename(target)
        shutil.rmtree(old, ignore_errors=True)


def _exchange(a: Path, b: Path) -> bool:
    """Swaps two directories in one step by Linux's renameat2; False where system or file system have no such call."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    at_current_directory, exchange = -100, 2
    if rename(at_current_directory, os.fsencode(a), at_current_directory, os.fsencode(b), exchange) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number))
