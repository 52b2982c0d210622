"""Processes of the service: their temporary folder, and what each of them prepares before it serves."""

import contextlib
import fcntl
import functools
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from fos_jax.errors import InputError
from fos_jax.program import keep_compiled_programs
from fos_jax.serving.settings import Settings
from fos_jax.web.server import serve

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from fos_jax.serving.app import ServiceApp

_EMPTIED = ("pictures", "spool", "metrics")  # jobs stay: they outlast the service
_METRICS = "PROMETHEUS_MULTIPROC_DIR"
_SWITCH_S = 0.002  # between threads: with 5 ms searches wait for refusals, with 0.5 ms fewer are answered


@contextlib.contextmanager
def temporary_folder(path: Path) -> Iterator[None]:
    """A block in which a folder is this service's alone; uploads in it are deleted before and after.

    Raises:
      InputError: another service uses it, or it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise InputError(f"{path}: cannot be used as temporary folder ({error.strerror})") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{path}: another service uses this temporary folder") from None
        _empty(path)
        for name in _EMPTIED:
            (path / name).mkdir(mode=0o700)
        try:
            yield
        finally:
            _empty(path)
    finally:
        os.close(descriptor)


def _empty(path: Path) -> None:
    for name in _EMPTIED:
        shutil.rmtree(path / name, ignore_errors=True)


def prepare(settings: Settings, *, has_log: bool) -> "ServiceApp":
    """The application of this process."""
    keep_compiled_programs()
    sys.setswitchinterval(_SWITCH_S)
    cv2.setNumThreads(1)  # a search keeps one core busy; further threads spin and take the time of others
    tempfile.tempdir = str(settings.folder / "spool")  # where large uploads wait until they have come
    from fos_jax.serving.app import ServiceApp
    from fos_jax.serving.observing import log_requests

    log_requests(is_on=has_log)
    if parent := multiprocessing.parent_process():
        threading.Thread(target=_end_with, args=[parent], daemon=True).start()
    return ServiceApp(settings)


def _end_with(parent: "BaseProcess") -> None:
    """Ends this process where the one that started it was killed: it would hold on to the port."""
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _leave(*_: object) -> None:
    raise SystemExit(0)


def run(settings: Settings, *, host: str, port: int, ready: Callable[[str], None], has_log: bool) -> None:
    """Serves until it is interrupted or terminated; requests in flight are finished.

    Args:
      settings: what the processes are told.
      host, port, ready: as `web.server.serve`.
      has_log: whether each request is logged.

    Raises:
      InputError: something of the settings is unusable, or the port is taken.
    """
    signal.signal(signal.SIGTERM, _leave)  # raised again when all is finished: the folder is emptied behind it
    with temporary_folder(settings.folder):
        if settings.workers > 1:
            _check(settings)
            os.environ[_METRICS] = str(settings.folder / "metrics")  # read by prometheus_client in the workers
        serve(
            functools.partial(prepare, settings, has_log=has_log),
            host=host,
            port=port,
            ready=ready,
            grace_s=round(settings.limits.request_s) + 1,
            is_factory=True,
            workers=settings.workers,
        )


def _check(settings: Settings) -> None:
    """Opens what the workers will open, so that what is unusable is told once."""
    from fos_jax.gallery.gallery import Gallery
    from fos_jax.serving.admission import parse_rate
    from fos_jax.serving.keys import read_keys
    from fos_jax.serving.service import read_examples

    Gallery.open(settings.gallery).close()
    read_examples(settings.examples)
    parse_rate(settings.limits.rate)
    if settings.keys:
        read_keys(settings.keys)
