"""Sessions of the page: a key as a cookie that scripts cannot read, so that its pictures can be asked for too."""

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from fos_jax.serving.admission import Admission
from fos_jax.serving.keys import COOKIE
from fos_jax.serving.requests import Body

_LASTS_S = 30 * 86_400


class SessionBody(Body):
    """A key."""

    key: Annotated[str, Field(min_length=1, max_length=200)]


def routes(admission: Admission) -> APIRouter:
    """`/api/session`."""
    router = APIRouter(tags=["states"])

    @router.post("/api/session")
    async def begin_session(request: Request, body: SessionBody) -> Response:
        """Sets a key as a cookie; the answer tells its role."""
        role = await admission.role(body.key)
        if role is None:
            raise HTTPException(401, "key: unknown", headers={"WWW-Authenticate": "ApiKey"})
        answer, is_secure = JSONResponse({"role": role}), request.url.scheme == "https"
        answer.set_cookie(COOKIE, body.key, httponly=True, samesite="strict", secure=is_secure, max_age=_LASTS_S)
        return answer

    @router.delete("/api/session", status_code=204, response_class=Response)
    async def end_session() -> Response:
        """Forgets the key."""
        answer = Response(status_code=204)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    return router
