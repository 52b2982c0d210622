"""Refusals as one line of JSON, and bodies that are read no further than their limit."""

from typing import Any

from starlette.responses import JSONResponse


def one_line(message: object) -> str:
    """A message on one line, without what cannot be sent as UTF-8."""
    return " ".join(str(message).split()).encode("utf-8", "replace").decode()


def refusal(status: int, message: object, *, headers: dict[str, str] | None = None, **more: Any) -> JSONResponse:
    """An error as `{"error": one line}` with further fields."""
    return JSONResponse({"error": one_line(message), **more}, status_code=status, headers=headers)
