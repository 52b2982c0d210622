"""The service as OpenAPI: which errors come where, keys, and no answer that is never sent."""

from importlib import metadata
from typing import Any

from fos_jax.serving.replies import Error

_TEXT = """Search a gallery of foregrounds for those that fit a rectangle of a photograph, and learn why.

Hand in a photograph with `POST /api/pictures`; its answer names it for all other requests. Boxes are `[x0, y0, x1, y1]`
in whole pixels of the upright photograph, half-open. Every error is one line, with the request's id as in the logs."""
_ERRORS = {
    400: "What was sent means nothing; the line names the field and what was expected.",
    401: "No key, or an unknown one.",
    403: "A key that may not do this, another host's name, or a page of another site.",
    404: "It does not exist, or a picture is not kept any more.",
    405: "Another method was expected.",
    408: "The body did not come in time.",
    409: "It exists already.",
    413: "The body is too large.",
    429: "Too much at a time: try again after the seconds in Retry-After.",
    503: "It took too long, or the service is starting: try again after the seconds in Retry-After.",
}
_RETRY = {"Retry-After": {"description": "Seconds.", "schema": {"type": "string"}}}


def describe() -> dict[str, Any]:
    """Options of FastAPI that describe the service."""
    responses: dict[int, dict[str, Any]] = {
        status: {"model": Error, "description": text} | ({"headers": _RETRY} if status in (429, 503) else {})
        for status, text in _ERRORS.items()
    }
    return {
        "version": metadata.version("fos-jax"),
        "description": _TEXT,
        "responses": responses,
        "generate_unique_id_function": lambda route: route.name,
    }


def without_422(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without FastAPI's own answer to bad input, which here is 400; and with the scheme of keys."""
    for path in schema["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
    parts = schema["components"]
    for name in ("HTTPValidationError", "ValidationError"):
        parts["schemas"].pop(name, None)
    parts["securitySchemes"] = {"key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}}
    schema["security"] = [{}, {"key": []}]
    return schema
