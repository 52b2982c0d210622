"""Serving an ASGI application from this process or from several."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Literal

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from fos_jax.errors import InputError

HEADERS_S = 10.0  # in which the headers of a request must have come


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


class _Protocol(H11Protocol):
    """HTTP whose connections are closed where the next request's headers take too long to come.

    Uvicorn waits without an end once the first byte came; bodies have a limit in the application.
    """

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._forget()

    def _forget(self) -> None:
        if self._late:
            self._late.cancel()
            self._late = None

    def _watch(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._forget()
        elif self._late is None and not self.transport.is_closing():
            self._late = self.loop.call_later(HEADERS_S, self._give_up)

    def _give_up(self) -> None:
        self._late = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


def configure(app: Any, **options: Any) -> uvicorn.Config:
    """Configuration of a server that only says what is wrong, by Python's logging."""
    options = {"http": _Protocol, "log_level": "warning", "access_log": False, **options}
    return uvicorn.Config(app, timeout_keep_alive=30, server_header=False, **options)


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
        options: Any = {"lifespan": lifespan, "timeout_graceful_shutdown": grace_s, "workers": workers}
        options["timeout_worker_healthcheck"] = 300  # a worker that still loads on a busy machine is not hung
        config = configure(app, factory=is_factory, **options)
        if workers == 1:
            uvicorn.Server(config).run(sockets=[listener])
        else:
            from uvicorn.supervisors import Multiprocess

            Multiprocess(config, sockets=[listener]).run()
