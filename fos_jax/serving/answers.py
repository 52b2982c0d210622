"""Answers as JSON: numbers of NumPy, and null for what is no number."""

import json
import math
from typing import Any

import numpy as np
from starlette.responses import Response


def json_answer(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON response, ready to be sent; made where it is called, which should be a thread."""
    body = json.dumps(plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    return Response(body, status, {"Cache-Control": "no-store", **(headers or {})}, "application/json")


def plain(value: Any) -> Any:
    """The same with Python's own types; null for infinities and what is no number."""
    if isinstance(value, str | bool | int | None):
        return value
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.integer | np.bool_):
        return value.item()
    if hasattr(value, "items"):
        return {str(key): plain(entry) for key, entry in value.items()}
    return [plain(entry) for entry in value]
