"""Logs and metrics: a line of JSON for each request, counters for Prometheus.

A line has the time, the request's id, the client's name, method, path, status and milliseconds; never a key, a query
string or a picture.
"""

import datetime
import json
import logging
import os
import sys
import time
import traceback
import uuid
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from fos_jax.web.answers import refusal

_LOG = logging.getLogger("fos_jax.serving")
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)


def log_requests(*, is_on: bool) -> None:
    """Writes lines to stderr, those of requests only where it is on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    _LOG.handlers, _LOG.propagate = [handler], False
    _LOG.setLevel(logging.INFO if is_on else logging.ERROR)


class Metrics:
    """Counters of one process, or of all where PROMETHEUS_MULTIPROC_DIR was set before this module was loaded."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self._registry}
        self.seconds = Histogram(
            "fos_request_seconds", "Time to answer.", ["route", "method", "status"], buckets=_SECONDS, **own
        )
        self.admitted = Gauge("fos_admitted", "Calls that run or wait.", ["queue"], multiprocess_mode="livesum", **own)
        self.refused = Counter("fos_refused", "Calls that were turned away.", ["queue"], **own)
        self.batches = Counter("fos_encoded_batches", "Batches of queries.", ["size"], **own)
        self.foregrounds = Gauge("fos_foregrounds", "In the gallery.", multiprocess_mode="livemax", **own)
        told = "1 where a gallery was built in this one's place that cannot be taken up."
        self.unusable = Gauge("fos_gallery_unusable", told, multiprocess_mode="livemax", **own)
        self.version = Gauge("fos_gallery_version", "Its last change.", multiprocess_mode="livemax", **own)

    def text(self) -> bytes:
        """All of them, as Prometheus reads it."""
        registry = self._registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            from prometheus_client.multiprocess import MultiProcessCollector

            registry = CollectorRegistry()
            MultiProcessCollector(registry)
        return generate_latest(registry)


class Observed:
    """ASGI middleware: gives each request an id, logs and counts it, and answers 500 where the application fails."""

    def __init__(self, app: Any, metrics: Metrics):
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        number, started_s, status = uuid.uuid4().hex[:16], time.perf_counter(), 0
        scope["request_id"] = number

        async def send_counted(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-request-id", number.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_counted)
        except Exception:
            self._line(logging.ERROR, number, scope, traceback=traceback.format_exc())
            if not status:
                answer = refusal(500, "internal error: the log has it under this request's id", request=number)
                await answer(scope, receive, send_counted)
        finally:
            seconds = time.perf_counter() - started_s
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.seconds.labels(route, scope["method"], status).observe(seconds)
            self._line(logging.INFO, number, scope, status=status, ms=round(1000 * seconds, 1))

    def _line(self, level: int, number: str, scope: Any, **more: Any) -> None:
        if not _LOG.isEnabledFor(level):
            return
        client = scope.get("fos_client")
        line = {
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
            "request": number,
            "client": client.name if client else None,
            "method": scope["method"],
            "path": scope["path"][:500],
            **more,
        }
        _LOG.log(level, json.dumps(line))
