"""The service as an ASGI application.

    GET  /, /page/<file>, /page/shared/<file>   the page
    GET  /health, /ready, /metrics              for those who run it
    GET  /openapi.json                          everything else, with examples

Errors are {"error": one line, "request": id}: 400 for what means nothing, 401 and 403 for keys, hosts and other sites,
404 for what does not exist, 408 for a body that does not come, 413 for one that is too large, 429 with Retry-After if
too much is asked at a time, 503 with Retry-After where an answer takes too long or another process writes.
"""

import contextlib
import functools
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from fos_jax.errors import BusyError, InputError
from fos_jax.serving import atlas, changes, composing, explaining, foregrounds, jobs, pictures, searching, sessions
from fos_jax.serving.admission import Admission
from fos_jax.serving.documents import describe, without_422
from fos_jax.serving.observing import Observed
from fos_jax.serving.service import Service
from fos_jax.serving.settings import Settings
from fos_jax.web.answers import refusal
from fos_jax.web.guard import Guard
from fos_jax.web.pages import SHARED, PageFiles

# Of the rooms that share addresses, what is more special comes first.
_ROOMS = (searching, explaining, pictures, composing, atlas, jobs, changes, foregrounds)


class ServiceApp:
    """The application with everything around it.

    Attributes:
      service: the process's. api: what describes itself as OpenAPI.
    """

    def __init__(self, settings: Settings, bundle: Any = None):
        """Opens the gallery; threads start and end with the application's lifespan.

        Args:
          settings: what the process is told. bundle: the model, where it is not to be read.

        Raises:
          InputError: as `service.Service` and `admission.Admission`.
        """
        self.service = service = Service(settings, bundle)

        @contextlib.asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            service.start()
            yield
            await run_in_threadpool(service.stop)

        self.api = FastAPI(title="fos_jax", docs_url=None, redoc_url=None, lifespan=lifespan, **describe())
        for room in _ROOMS:
            self.api.include_router(room.routes(service))
        _add_pages(self.api)
        _add_states(self.api, service)
        _add_errors(self.api, service)
        make_schema = self.api.openapi
        self.api.openapi = functools.cache(lambda: without_422(make_schema()))  # type: ignore[method-assign]
        admission = Admission(self.api, settings, service.searching)
        self.api.include_router(sessions.routes(admission))
        guarded = Guard(admission, hosts=settings.hosts, has_blobs=True)
        self._app = Observed(guarded, service.metrics)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)


def _add_pages(app: FastAPI) -> None:
    own, shared = PageFiles("fos_jax.serving"), PageFiles(SHARED)

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return own.answer("index.html")

    @app.get("/page/{name}", include_in_schema=False)
    async def file(name: str) -> Response:
        return own.answer(name)

    @app.get("/page/shared/{name}", include_in_schema=False)
    async def shared_file(name: str) -> Response:
        return shared.answer(name)


def _add_states(app: FastAPI, service: Service) -> None:
    @app.get("/health", tags=["states"])
    async def health() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "ok"}

    @app.get("/ready", tags=["states"])
    async def ready() -> dict[str, str]:
        """Whether searches are answered at once: the encoder has run."""
        if not service.is_ready:
            raise HTTPException(503, "starting: the encoder is being prepared", headers={"Retry-After": "1"})
        return {"status": "ready"} | ({"gallery": service.renewal.problem} if service.renewal.problem else {})

    @app.get("/metrics", tags=["states"], response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Counters for Prometheus."""
        state = service.gallery.snapshot()
        service.metrics.foregrounds.set(len(state))
        service.metrics.version.set(state.sequence)
        service.metrics.unusable.set(bool(service.renewal.problem))
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


def _add_errors(app: FastAPI, service: Service) -> None:
    def answer(request: Request, status: int, message: str, headers: Any = None) -> Response:
        return refusal(status, service.hidden(message), headers=headers, request=request.scope.get("request_id", ""))

    @app.exception_handler(RequestValidationError)
    async def meaningless(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or first["loc"][0]
        return answer(request, 400, f"{where}: {first['msg']}")

    @app.exception_handler(InputError)
    async def unusable(request: Request, error: InputError) -> Response:
        is_busy = isinstance(error, BusyError)
        return answer(request, 503 if is_busy else 400, str(error), {"Retry-After": "1"} if is_busy else None)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return answer(request, error.status_code, str(error.detail), error.headers)

    @app.exception_handler(Exception)  # is raised again behind the answer, and logged by Observed
    async def defect(request: Request, error: Exception) -> Response:
        return answer(request, 500, "internal error: the log has it under this request's id")
