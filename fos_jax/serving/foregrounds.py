"""Foregrounds of the gallery: what there is, metadata, pictures, more like this."""

import functools
import io
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Path, Query, Request
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.responses import Response

from fos_jax.gallery.foregrounds import parse_sides
from fos_jax.gallery.snapshot import Snapshot
from fos_jax.images import encode_png, visible_box_xyxy_px
from fos_jax.serving.answers import json_answer
from fos_jax.serving.replies import BrowseReply, ForegroundReply, GalleryReply, HitsReply
from fos_jax.serving.searching import Ranking, check_counts, hit_json, version
from fos_jax.serving.service import Service, row_of

Identifier = Annotated[str, Path(description="Id of a foreground; a slash in it may come as it is.", max_length=500)]
Mirrored = Annotated[bool, Query(description="Flipped left to right.")]
Version = Annotated[
    str, Query(alias="version", max_length=40, description="Any text: where it is given, clients keep the picture.")
]
Category = Annotated[str, Query(max_length=200)]
_FACTS = (
    *("id", "category", "pattern", "confidence", "licence"),
    *("source_id", "tags", "width_px", "height_px", "added_s"),
)
_PICTURE: Any = {200: {"content": {"image/png": {}, "image/webp": {}}, "description": "The picture."}}


def routes(service: Service) -> APIRouter:
    """`/api/gallery`, `/api/examples` and `/api/foregrounds`."""
    router, limits = APIRouter(tags=["foregrounds"]), service.settings.limits

    def gallery() -> Response:
        state = service.gallery.snapshot()
        return json_answer({**_facts(service, state), **_shown(service)})

    @router.get("/api/gallery", response_model=GalleryReply)
    async def describe() -> Response:
        """What is searched, and what may be asked for."""
        return await service.reading.run(gallery)

    @router.get("/api/examples/{identifier}", responses=_PICTURE, response_class=Response)
    async def example(identifier: Identifier) -> Response:
        """A photograph to try."""
        found = service.examples.get(identifier)
        if found is None:
            raise HTTPException(404, f"example: there is no {identifier[:200]!r}")
        return Response(found["data"], media_type=found["type"], headers={"Cache-Control": "private, max-age=3600"})

    @router.get("/api/foregrounds", response_model=BrowseReply)
    async def browse(
        category: Category,
        pattern: int | None = None,
        offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
        limit: Annotated[int, Query(ge=1)] = 50,
    ) -> Response:
        """Foregrounds of a category or of one of its patterns, in the order of the gallery."""
        check_counts(limits.k, limit=limit)
        return await service.reading.run(_browse, service, category, pattern, offset, limit)

    @router.get("/api/foregrounds/{identifier:path}/thumbnail", responses=_PICTURE, response_class=Response)
    async def thumbnail(
        request: Request, identifier: Identifier, mirrored: Mirrored = False, stamp: Version = ""
    ) -> Response:
        """Small picture with transparency, WebP."""
        return await service.reading.run(_picture, service, request, identifier, mirrored, stamp, "thumbnail")

    @router.get("/api/foregrounds/{identifier:path}/cutout", responses=_PICTURE, response_class=Response)
    async def cutout(
        request: Request, identifier: Identifier, mirrored: Mirrored = False, stamp: Version = ""
    ) -> Response:
        """The visible part at full resolution, PNG with transparency."""
        return await service.reading.run(_picture, service, request, identifier, mirrored, stamp, "cutout")

    @router.get("/api/foregrounds/{identifier:path}/similar", response_model=HitsReply)
    async def similar(
        identifier: Identifier, k: Annotated[int, Query(ge=1)] = 20, ranking: Ranking = "cosine"
    ) -> Response:
        """More like this: the nearest foregrounds of the same category."""
        check_counts(limits.k, k=k)
        return await service.searching.run(_similar, service, identifier, k, ranking)

    @router.get("/api/foregrounds/{identifier:path}", response_model=ForegroundReply)
    async def metadata(identifier: Identifier) -> Response:
        """Metadata of a foreground."""
        return await service.reading.run(_metadata, service, identifier)

    return router


def _shown(service: Service) -> dict[str, Any]:
    settings = service.settings
    facts = ("id", "category", "box", "width", "height")
    return {
        "can_change": settings.allow_changes or settings.keys is not None,
        "limits": {
            "bytes": settings.limits.upload_bytes,
            "pixels": settings.limits.pixels,
            "k": settings.limits.k,
            "layers": settings.limits.layers,
        },
        "examples": [{name: entry[name] for name in facts} for entry in service.examples.values()],
    }


@functools.lru_cache(2)
def _facts(service: Service, state: Snapshot) -> dict[str, Any]:
    """What /api/gallery says of a snapshot; reads whole columns, once for each."""
    licences, tags = set[str](), set[str]()
    categories = []
    for name in state.categories:
        rows = state.category(name)
        categories.append({"name": name, "foregrounds": len(rows), "patterns": len(rows.patterns)})
        for part in rows.parts:
            licences |= set(filter(None, part.columns.array("licence").unique().to_pylist()))
            tags |= set(part.columns.array("tags").flatten().unique().to_pylist())
    table = service.table
    return {
        "version": state.sequence,
        "bundle": service.bundle.fingerprint,
        "categories": categories,
        "attributes": {c: {name: list(values) for name, values in of.items()} for c, of in table.attributes.items()},
        "experts": dict(service.bundle.expert_weights),
        "licences": sorted(licences),
        "tags": sorted(tags),
        "has_mirrored": state.has_mirrored,
    }


def facts_of(service: Service, state: Snapshot, row: int) -> dict[str, Any]:
    """Metadata of a row, as the interface tells it."""
    names = (
        "id",
        "category",
        "pattern",
        "confidence",
        "licence",
        "source_id",
        "tags",
        "width_px",
        "height_px",
        "added_s",
    )
    found = {name: state.value(name, row) for name in names}
    pattern = service.table.patterns[found["pattern"]] if found["pattern"] >= 0 else None
    return {
        **found,
        "attributes": dict(pattern.attributes) if pattern else {},
        "description": pattern.description if pattern else "",
        "truncated": parse_sides(state.value("truncated", row)),
    }


def _browse(service: Service, category: str, pattern: int | None, offset: int, limit: int) -> Response:
    state = service.gallery.snapshot()
    rows = state.category(category)
    is_wanted = rows.is_live
    if pattern is not None:
        is_wanted = is_wanted & np.asarray(rows.assigned == pattern)
    places = np.flatnonzero(is_wanted)
    shown = [facts_of(service, state, int(rows.rows[int(place)])) for place in places[offset : offset + limit]]
    return json_answer({"version": state.sequence, "total": len(places), "foregrounds": shown})


def _metadata(service: Service, identifier: str) -> Response:
    state = service.gallery.snapshot()
    return json_answer({"version": state.sequence, **facts_of(service, state, row_of(state, identifier))})


def _similar(service: Service, identifier: str, k: int, ranking: Ranking) -> Response:
    search = service.search()
    row_of(search.gallery, identifier)
    hits = search.similar(identifier, k=k, ranking=ranking)
    return json_answer({"version": version(search), "hits": [hit_json(hit) for hit in hits], "refused": None})


def _picture(service: Service, request: Request, identifier: str, mirrored: bool, stamp: str, kind: str) -> Response:
    state = service.gallery.snapshot()
    row = row_of(state, identifier)
    tag = f'"{state.value("version", row):x}{"-mirrored" if mirrored else ""}"'
    # A replaced foreground keeps its id.
    lasts = "max-age=31536000, immutable" if stamp else "max-age=60"
    headers = {"Cache-Control": f"private, {lasts}", "ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    if kind == "thumbnail":
        return Response(_thumbnail(state, row, mirrored, tag), media_type="image/webp", headers=headers)
    return Response(_cutout(state, row, mirrored), media_type="image/png", headers=headers)


class _Thumbnails:
    """The last WebP thumbnails, by entity tag."""

    def __init__(self) -> None:
        self._made: dict[str, bytes] = {}

    def __call__(self, state: Snapshot, row: int, mirrored: bool, tag: str) -> bytes:
        found = self._made.pop(tag, None)
        if found is None:
            picture = state.thumbnail(row)
            if mirrored:
                picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            buffer = io.BytesIO()
            picture.save(buffer, "WEBP", quality=85, method=2)
            found = buffer.getvalue()
        self._made[tag] = found
        while len(self._made) > 4096:
            self._made.pop(next(iter(self._made)), None)
        return found


_thumbnail = _Thumbnails()


def _cutout(state: Snapshot, row: int, mirrored: bool) -> bytes:
    if not mirrored and not state.value("path", row):
        return state.picture(row, "cutout")  # as it lies in the gallery: cropped to what is visible
    rgba = state.cutout(row)
    x0, y0, x1, y1 = visible_box_xyxy_px(rgba)
    visible = rgba[y0:y1, x0:x1]
    return encode_png(np.ascontiguousarray(visible[:, ::-1] if mirrored else visible))
