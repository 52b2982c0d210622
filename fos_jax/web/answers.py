"""Refusals as one line of JSON, and bodies that are read no further than their limit."""

from typing import Any

from starlette.responses import JSONResponse

_LONGEST = 600


def one_line(message: object) -> str:
    """A message on one line, without what cannot be sent as UTF-8; what is very long loses its middle."""
    text = " ".join(str(message).split()).encode("utf-8", "replace").decode()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"


def refusal(status: int, message: object, *, headers: dict[str, str] | None = None, **more: Any) -> JSONResponse:
    """An error as `{"error": one line}` with further fields."""
    return JSONResponse({"error": one_line(message), **more}, status_code=status, headers=headers)
