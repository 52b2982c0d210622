"""Listening on the loopback address."""

import socket
from collections.abc import Callable
from typing import Any

import uvicorn

from fos_jax.errors import InputError


def serve(app: Any, *, port: int = 0, ready: Callable[[str], None] = lambda address: None) -> None:
    """Serves an ASGI application on 127.0.0.1 until it is interrupted.

    Args:
      app: the application.
      port: 0 takes a free one.
      ready: called with the address when connections are accepted.

    Raises:
      InputError: the port is taken or not allowed.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise InputError(f"port: {port} cannot be used ({error.strerror})") from None
    with listener:
        # Connections wait in the listener's queue until the server takes them: the address is good from here on.
        ready(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=3)
        uvicorn.Server(config).run(sockets=[listener])
