"""The service as an ASGI application.

    GET  /, /page/<file>, /page/shared/<file>   the page
    GET  /health, /ready, /metrics              for those who run it
    GET  /openapi.json                          everything else, with examples

Errors are {"error": one line, "request": id}: 400 for what means nothing, 401 and 403 for keys, hosts and other sites,
404 for what does not exist, 408 for a body that does not come, 413 for one that is too large, 429 with Retry-After if
too much is asked at a time, 503 where an answer takes too long.
"""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from fos_jax.errors import InputError
from fos_jax.serving import composing, foregrounds, pictures, searching
from fos_jax.serving.service import Service
from fos_jax.serving.settings import Settings
from fos_jax.web.answers import refusal
from fos_jax.web.guard import Guard
from fos_jax.web.pages import SHARED, PageFiles

_ROOMS = (searching, foregrounds, pictures, composing)


def make_app(settings: Settings, bundle: Any = None) -> FastAPI:
    """The application; its gallery is opened at once, its threads end with its lifespan.

    Raises:
      InputError: as `service.Service`.
    """
    service = Service(settings, bundle)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        service.stop()

    app = FastAPI(title="fos_jax", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.service = service
    for room in _ROOMS:
        app.include_router(room.routes(service))
    _add_pages(app)
    _add_states(app, service)
    _add_errors(app, service)
    app.add_middleware(Guard, hosts=settings.hosts, has_blobs=True)
    return app


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
        return {"status": "ready"}


def _add_errors(app: FastAPI, service: Service) -> None:
    folder = str(service.settings.gallery)

    def answer(request: Request, status: int, message: str, headers: Any = None) -> Response:
        hidden = message.replace(folder, "the gallery")  # where it lies is nobody's business
        return refusal(status, hidden, headers=headers, request=request.scope.get("fos_request", ""))

    @app.exception_handler(RequestValidationError)
    async def meaningless(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or first["loc"][0]
        return answer(request, 400, f"{where}: {first['msg']}")

    @app.exception_handler(InputError)
    async def unusable(request: Request, error: InputError) -> Response:
        return answer(request, 400, str(error))

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return answer(request, error.status_code, str(error.detail), error.headers)

    @app.exception_handler(Exception)
    async def defect(request: Request, error: Exception) -> Response:
        return answer(request, 500, "internal error: the log has it under this request's id")
