"""Serving an ASGI application from this process or from several."""

import socket
from collections.abc import Callable
from typing import Any, Literal

import uvicorn

from fos_jax.errors import InputError


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; connections wait in its queue until a server takes them.

    Raises:
      InputError: the address is taken or not allowed.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(512)
    except OSError as error:
        listener.close()
        raise InputError(f"port: {port} of {host} cannot be used ({error.strerror})") from None
    return listener


def address_of(listener: socket.socket) -> str:
    """The address to open in a browser on this machine."""
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}/"


def serve(
    app: Any,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    ready: Callable[[str], None] = lambda address: None,
    grace_s: int = 3,
    is_factory: bool = False,
    workers: int = 1,
) -> None:
    """Serves an ASGI application until it is interrupted or terminated; requests in flight are finished.

    Args:
      app: the application, or with `is_factory` what makes it; for several workers it must be picklable.
      host: address to listen at. port: 0 takes a free one.
      ready: called with the address when connections are accepted.
      grace_s: how long requests in flight may take at the end.
      is_factory: whether `app` is to be called, in the process that serves.
      workers: processes, started anew (not forked) and replaced where one dies.

    Raises:
      InputError: the port is taken or not allowed.
    """
    with listen(host, port) as listener:
        lifespan: Literal["on", "off"] = "on" if is_factory else "off"
        if is_factory and workers == 1:
            app, is_factory = app(), False  # what is unusable is told before the address
        ready(address_of(listener))  # good from here on: connections wait in the listener's queue
        config = uvicorn.Config(
            app,
            factory=is_factory,
            log_level="warning",
            access_log=False,
            lifespan=lifespan,
            timeout_graceful_shutdown=grace_s,
            timeout_keep_alive=30,
            server_header=False,
            workers=workers,
        )
        if workers == 1:
            uvicorn.Server(config).run(sockets=[listener])
        else:
            from uvicorn.supervisors import Multiprocess

            Multiprocess(config, sockets=[listener]).run()
