"""Admission: who may send a request, how often, and how large and slow its body may be."""

import asyncio
import math
import time
from typing import Any

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.exceptions import HTTPException
from starlette.requests import Request

from fos_jax.errors import InputError
from fos_jax.serving.gates import Gate
from fos_jax.serving.keys import COOKIE, HEADER, Client, Keys, Role, check_role, needed_role
from fos_jax.serving.settings import Settings
from fos_jax.web.answers import refusal

_MOST_UPLOADS = 16  # bodies of pictures that come at the same time in one process
_MOST_KEY = 200


class Admission:
    """ASGI middleware; what it lets through carries `fos_client` in its scope."""

    def __init__(self, app: Any, settings: Settings, searching: Gate | None = None):
        """Reads the file of keys; `InputError` where it is none, or the rate cannot be read.

        Searches for which the queue `searching` has no room are refused before their bodies are read.
        """
        self._searching = searching
        self._app, self._settings, self._limits = app, settings, settings.limits
        self._keys = Keys(settings.keys) if settings.keys else None
        self._checking = Gate("keys", working=1, waiting=8, limit_s=10.0)
        self._rate = parse_rate(settings.limits.rate)
        self._counts = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._uploads = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        is_upload = request.headers.get("content-type", "").startswith("multipart/")
        try:
            needed = needed_role(scope["method"], scope["path"])
            scope["fos_client"] = client = await self._client(request, needed is not None)
            check_role(client, needed, has_keys=self._keys is not None)
            if scope["path"].startswith("/api/") and not _is_picture(scope):
                self._count(client)
            if is_upload and self._uploads >= _MOST_UPLOADS:
                raise HTTPException(429, "uploads: too many at a time, try again", headers={"Retry-After": "1"})
            if self._searching and scope["path"].startswith("/api/search/"):
                self._searching.check()
            limited = self._limited(request, receive, is_upload)
        except HTTPException as error:
            headers = dict(error.headers or {})
            answer = refusal(error.status_code, error.detail, headers=headers, request=scope.get("request_id", ""))
            await answer(scope, receive, send)
            return
        self._uploads += is_upload
        try:
            await self._app(scope, limited, send)
        finally:
            self._uploads -= is_upload

    async def role(self, key: str) -> Role | None:
        """The role of a key, None where it is none."""
        if self._keys is None or not 0 < len(key) <= _MOST_KEY:
            return None
        is_known, role = self._keys.remembered(key)
        return role if is_known else await self._checking.run(self._keys.role, key)

    async def _client(self, request: Request, is_needed: bool) -> Client:
        address = request.client.host if request.client else "unknown"
        if self._keys is None:
            return Client(address, "editor" if self._settings.allow_changes else "reader")
        key = request.headers.get(HEADER) or request.cookies.get(COOKIE, "")
        role = await self.role(key) if is_needed else None
        return Client(key.partition(".")[0] if role else address, role)

    def _count(self, client: Client) -> None:
        if self._rate is not None and not self._counts.hit(self._rate, client.name):
            wait_s = self._counts.get_window_stats(self._rate, client.name).reset_time - time.time()
            headers = {"Retry-After": str(max(1, math.ceil(wait_s)))}
            raise HTTPException(429, f"rate: more than {self._limits.rate}", headers=headers)

    def _limited(self, request: Request, receive: Any, is_upload: bool) -> Any:
        most = self._limits.upload_bytes if is_upload else self._limits.json_bytes
        said = request.headers.get("content-length", "0")
        if not said.isdigit() or int(said) > most:
            raise HTTPException(413, f"body: {said[:20]} bytes, expected at most {most}")
        received, deadline_s = 0, time.monotonic() + self._limits.body_s

        async def receive_limited() -> Any:
            nonlocal received, deadline_s
            try:
                message = await asyncio.wait_for(
                    receive(), None if math.isinf(deadline_s) else deadline_s - time.monotonic()
                )
            except TimeoutError:
                raise HTTPException(408, f"body: did not come within {self._limits.body_s:g} s") from None
            received += len(message.get("body", b""))
            if received > most:
                raise HTTPException(413, f"body: more than {most} bytes")
            if not message.get("more_body"):
                deadline_s = math.inf  # what follows is the end of the connection
            return message

        return receive_limited


def _is_picture(scope: Any) -> bool:
    """Whether a page shows it, many at a time."""
    is_shown = scope["path"].startswith("/api/examples/") or scope["path"].endswith(("/thumbnail", "/cutout"))
    return scope["method"] == "GET" and is_shown


def parse_rate(text: str) -> RateLimitItem | None:
    """A rate such as "50/second", None for ""; `InputError` where it is none."""
    try:
        return parse(text) if text else None
    except ValueError:
        raise InputError(f"rate: got {text!r}, expected such as 50/second") from None
