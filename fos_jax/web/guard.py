"""Refusal of requests that name another host or come from another site, and safe headers on every answer."""

from collections.abc import Collection
from typing import Any

from starlette.requests import Request

from fos_jax.web.answers import refusal

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
ANY_HOST = "*"


class Guard:
    """ASGI middleware for servers of one machine or one site.

    A name that was rebound to this address (DNS rebinding) and pages of other sites get 403. Other sites may link to
    the page: a top-level navigation is let through.
    """

    def __init__(self, app: Any, *, hosts: Collection[str] = LOOPBACK, has_blobs: bool = False):
        """Wraps an application.

        Args:
          app: what is guarded.
          hosts: names, without port, that the header Host may have; "*" among them allows any.
          has_blobs: whether the page may show pictures that its own scripts made.
        """
        self._app, self._hosts = app, hosts
        images = "'self' data: blob:" if has_blobs else "'self' data:"
        policy = f"default-src 'none'; script-src 'self'; style-src 'self'; img-src {images}; connect-src 'self'"
        headers = {
            "Content-Security-Policy": f"{policy}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        self._headers = [(key.lower().encode(), value.encode()) for key, value in headers.items()]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_safely(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *self._headers]
            await send(message)

        refused = self._refused(Request(scope))
        named = {"request": scope["request_id"]} if "request_id" in scope else {}
        answer = self._app if refused is None else refusal(403, refused, **named)
        await answer(scope, receive, send_safely)

    def _refused(self, request: Request) -> str | None:
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if ANY_HOST not in self._hosts and host.rsplit(":", 1)[0] not in self._hosts and host not in self._hosts:
            return f"host: got {host[:200]!r}, expected a name of this machine (127.0.0.1)"
        if origin is not None and origin.split("://")[-1] != host:
            return f"origin: got {origin[:200]!r}, expected the page of this server"
        is_navigation = request.method == "GET" and request.headers.get("sec-fetch-mode") == "navigate"
        if request.headers.get("sec-fetch-site") in ("cross-site", "same-site") and not is_navigation:
            return "sec-fetch-site: got a request of another site's page, expected the page of this server"
        return None
