"""The local HTTP service of the verification page: JSON over the store, thumbnails, and the page's own files.

    GET  /                                      the page; /page/<file> its modules and style, /page/shared/<file> what
                                                pages share
    GET  /thumbnails/<fingerprint>/<cut-out>    WebP, never changes
    GET  /api/session?annotator=                categories with progress, annotators, counts, revision
    GET  /api/groups?category=&annotator=       `views.group_list`
    GET  /api/groups/<group>?annotator=         `views.group_detail`
    GET  /api/changes?since=                    actions after one, for pages that look whether others did something
    GET  /api/suggestions?category=             `views.suggestions`, with the revisions of all groups concerned
    GET  /api/agreement?category=               `state.agreement`;  /api/disagreements?category=  the queue
    GET  /api/history?limit=&before=            the last actions
    GET  /api/export                            `export.export` as a download
    POST /api/actions                           {annotator, kind, parameters, revisions, request}: `Store.act`

Errors are {"error": one line}: 400 for what means nothing, 404 for what does not exist, 409 with `conflicts` for what
somebody else changed, 413 for a body beyond a few megabytes, 415 for another type, 503 where the disk refuses.

For one machine and its users: it listens on the loopback address, and refuses requests that name another host or come
from another site's page. Annotators are not authenticated: the page sends a name.
"""

import json
import sqlite3
from collections.abc import Callable
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fos_jax.errors import InputError
from fos_jax.verification import views
from fos_jax.verification.actions import UnknownError, check_annotator
from fos_jax.verification.export import export
from fos_jax.verification.spread import Descriptors
from fos_jax.verification.state import REJECTED, agreement, disagreements, progress
from fos_jax.verification.store import StaleError, Store
from fos_jax.web.answers import refusal
from fos_jax.web.guard import Guard
from fos_jax.web.pages import SHARED, PageFiles

_MAX_BODY = 8_000_000
_FOREVER = "private, max-age=31536000, immutable"


def make_app(store: Store, thumbnail: Callable[[int], bytes], features: Descriptors | None = None) -> Starlette:
    """The service as an ASGI application.

    Args:
      store: the verification.
      thumbnail: cut-out -> WebP bytes.
      features: for similar groups and spread labels; without them there are none.
    """
    own, shared = PageFiles("fos_jax.verification"), PageFiles(SHARED)
    memo: dict[str, Any] = {}

    def session(request: Request) -> Any:
        annotator = _annotator(request)
        with store.reading() as state:
            return {
                "revision": state.revision,
                "fingerprint": store.proposals,
                "cutouts": len(store.cutout_ids),
                "annotators": store.annotators(),
                "progress": progress(state, annotator),
                "has_features": features is not None,
            }

    def groups(request: Request) -> Any:
        category, annotator = views.check_category(store, _text(request, "category")), _annotator(request)
        with store.reading() as state:
            found = views.group_list(store, state, category, annotator)
            return {"revision": state.revision, "category": category, "groups": found}

    def group(request: Request) -> Any:
        number, annotator = _whole(request.path_params["group"], "group"), _annotator(request)
        with store.reading() as state:
            return views.group_detail(store, state, number, annotator, features)

    def changes(request: Request) -> Any:
        since = _whole(_text(request, "since"), "since")
        with store.reading() as state:
            revision = state.revision
        newer = [entry for entry in store.history(limit=50) if entry["action"] > since]
        brief = [{key: entry[key] for key in ("action", "at", "annotator", "kind")} for entry in newer]
        return {"revision": revision, "actions": brief}

    def suggested(request: Request) -> Any:
        category = views.check_category(store, _text(request, "category"))
        if features is None:
            raise InputError("suggestions: this server has no descriptors to learn from")
        with store.reading() as state:
            labels = views.training_labels(state, category, features)
            rows = features.rows[category]
            rejected = np.array([state.groups[state.group_of[c]].kind == REJECTED for c in rows])
            revision, revisions = state.revision, dict(state.revisions)
            lies_in = {int(cutout): state.group_of[cutout] for cutout in rows}
        key = f"{category} {hash((labels.tobytes(), rejected.tobytes()))}"
        if memo.get("key") != key:  # learning takes a second where there are many
            memo.update(key=key, found=views.suggestions(labels, rejected, features, category))
        found = [{**entry, "from": [lies_in[c] for c, _ in entry["cutouts"]]} for entry in memo["found"]]
        concerned = {g for entry in found for g in (entry["group"], *entry["from"])}
        kept = {g: revisions[g] for g in sorted(concerned)}
        return {"revision": revision, "batches": found, "revisions": kept, "verified": int((labels >= 0).sum())}

    def agreed(request: Request) -> Any:
        category = _category(request)
        with store.reading() as state:
            return {"pairs": agreement(state, category=category)}

    def disputed(request: Request) -> Any:
        category = _category(request)
        with store.reading() as state:
            queue = disagreements(state, category=category)
            concerned = {g for entry in queue for g in (entry["group"], *entry["verdicts"].values())}
            facts = {
                g: {
                    "name": state.groups[g].name,
                    "kind": state.groups[g].kind,
                    "revision": state.revisions[g],
                    "cover": sorted(state.members[g], key=lambda c: (state.is_disputed(c), -store.confidence[c]))[:6],
                }
                for g in sorted(concerned)
            }
            return {"revision": state.revision, "queue": queue, "groups": facts}

    def history(request: Request) -> Any:
        limit = min(_whole(request.query_params.get("limit", "100"), "limit"), 1000)
        before = request.query_params.get("before")
        entries = store.history(limit=limit, before=None if before is None else _whole(before, "before"))
        for entry in entries:  # thousands of numbers say nothing to people
            entry["parameters"] = {k: _brief(v) for k, v in entry["parameters"].items()}
        return {"actions": entries}

    def exported(request: Request) -> Response:
        body = json.dumps(export(store), indent=1, ensure_ascii=False).encode()
        headers = {"Content-Disposition": 'attachment; filename="verified_patterns.json"', "Cache-Control": "no-store"}
        return Response(body, media_type="application/json", headers=headers)

    def picture(request: Request) -> Response:
        cutout = _whole(request.path_params["cutout"], "cutout")
        if request.path_params["fingerprint"] != store.proposals or cutout >= len(store.cutout_ids):
            raise UnknownError(f"thumbnail: there is no {cutout}")
        headers = {"Cache-Control": _FOREVER, "ETag": f'"{store.proposals}-{cutout}"'}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(thumbnail(cutout), media_type="image/webp", headers=headers)

    def page(request: Request) -> Response:
        return own.answer(request.path_params.get("name", "index.html"))

    def shared_page(request: Request) -> Response:
        return shared.answer(request.path_params["name"])

    async def act(request: Request) -> Response:
        body = await _json_body(request)
        fields = {"annotator", "kind", "parameters", "revisions", "request"}
        if not isinstance(body, dict) or set(body) - fields:
            raise InputError(f"action: expected a JSON object with {', '.join(sorted(fields))}")
        parameters, kind = body.get("parameters", {}), body.get("kind")
        if not isinstance(parameters, dict) or not isinstance(kind, str):
            raise InputError("action: parameters and kind, expected an object and a text")
        word = body.get("request")
        if word is not None and (not isinstance(word, str) or not 1 <= len(word) <= 100):
            raise InputError("request: expected a text of 1 to 100 characters")
        revisions = _revisions(body.get("revisions", {}))
        annotator: Any = body.get("annotator")  # the store says what it must be
        done = await run_in_threadpool(store.act, annotator, kind, parameters, revisions, request=word)
        return JSONResponse({"action": done.action, "kind": done.kind, "revisions": dict(done.revisions)})

    routes = [
        Route("/", page),
        Route("/page/{name}", page),
        Route("/page/shared/{name}", shared_page),
        Route("/thumbnails/{fingerprint}/{cutout}", picture),
        Route("/api/session", _json(session)),
        Route("/api/groups", _json(groups)),
        Route("/api/groups/{group}", _json(group)),
        Route("/api/changes", _json(changes)),
        Route("/api/suggestions", _json(suggested)),
        Route("/api/agreement", _json(agreed)),
        Route("/api/disagreements", _json(disputed)),
        Route("/api/history", _json(history)),
        Route("/api/export", exported),
        Route("/api/actions", act, methods=["POST"]),
    ]

    def _category(request: Request) -> str | None:
        category = request.query_params.get("category")
        return views.check_category(store, category) if category else None

    errors: dict[Any, Any] = {
        StaleError: lambda request, error: refusal(409, str(error), conflicts=error.conflicts),
        UnknownError: lambda request, error: refusal(404, str(error)),
        InputError: lambda request, error: refusal(400, str(error)),
        HTTPException: lambda request, error: refusal(error.status_code, error.detail),
        sqlite3.Error: lambda request, error: refusal(503, f"store: nothing was written ({error})"),
    }
    app = Starlette(routes=routes, exception_handlers=errors)
    app.add_middleware(Guard)
    return app


def _json(handler: Callable[[Request], Any]) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        return JSONResponse(handler(request), headers={"Cache-Control": "no-store"})

    return endpoint


async def _json_body(request: Request) -> Any:
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
        raise HTTPException(415, "content-type: expected application/json")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MAX_BODY:
            raise HTTPException(413, f"body: more than {_MAX_BODY} bytes")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError(f"body: not JSON ({error})") from None


def _revisions(raw: Any) -> dict[int, int]:
    if not isinstance(raw, dict) or not all(type(revision) is int for revision in raw.values()):
        raise InputError("revisions: expected an object of group numbers and whole numbers")
    return {_whole(group, "revisions"): revision for group, revision in raw.items()}


def _whole(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise InputError(f"{name}: got {text[:40]!r}, expected a whole number")
    return int(text)


def _text(request: Request, name: str) -> str:
    value = request.query_params.get(name)
    if not value:
        raise InputError(f"{name}: is missing")
    return value


def _annotator(request: Request) -> str:
    return check_annotator(_text(request, "annotator"))


def _brief(value: Any) -> Any:
    return f"{len(value)} of them" if isinstance(value, list) and len(value) > 8 else value
