"""Reasons: what a query speaks for, reverse search, and the evidence in the picture."""

from typing import Annotated

import numpy as np
from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from fos_jax.errors import InputError
from fos_jax.images import resize_rgb
from fos_jax.retrieval.queries import SearchQuery
from fos_jax.serving.answers import json_answer
from fos_jax.serving.composing import picture_answer
from fos_jax.serving.replies import ExplainReply, ReverseReply
from fos_jax.serving.requests import EXAMPLE_PICTURE, Body, Box, Name, PictureId, Query, Weights, example
from fos_jax.serving.searching import query_of, version
from fos_jax.serving.service import Service, row_of


class ExplainBody(Query):
    """A query, and what of the answer is to be explained."""

    model_config = example(pattern=3)

    pattern: int | None = None
    foreground: Name | None = None
    k: Annotated[int, Field(ge=1, le=50)] = 5


class EvidenceBody(Query):
    """A query, and the pattern that parts of the photograph speak for; the most probable one by default."""

    model_config = example(max_side=400)

    pattern: int | None = None
    max_side: Annotated[int, Field(ge=64, le=4000)] = 800


class PlaceFields(Body):
    """A photograph and a rectangle in it."""

    photo: PictureId
    box: Box


class ReverseBody(Body):
    """A foreground, and the places among which it is to find those that it fits."""

    model_config = example(
        foreground="test-car-000001", queries=[{"photo": EXAMPLE_PICTURE, "box": [40, 60, 200, 180]}]
    )

    foreground: Name
    queries: Annotated[list[PlaceFields], Field(min_length=1)]
    k: Annotated[int, Field(ge=1)] | None = None
    weights: Weights = Field({})


def routes(service: Service) -> APIRouter:
    """`/api/explain`, `/api/evidence` and `/api/reverse`."""
    router, limits = APIRouter(tags=["reasons"]), service.settings.limits

    @router.post("/api/explain", response_model=ExplainReply)
    async def explain(body: ExplainBody) -> Response:
        """The patterns and attributes that a query speaks for, and what would have to differ for another to win."""
        return await service.searching.run(_explain, service, body)

    @router.post("/api/evidence", response_class=Response, responses={200: {"content": {"image/png": {}}}})
    async def evidence(body: EvidenceBody) -> Response:
        """The photograph with what speaks for a pattern in red and what speaks against it in blue: a slow call."""
        return await service.slow.run(_evidence, service, body)

    @router.post("/api/reverse", response_model=ReverseReply)
    async def reverse(body: ReverseBody) -> Response:
        """The places that a foreground of the gallery fits best, best first."""
        if len(body.queries) > limits.queries:
            raise InputError(f"queries: got {len(body.queries)}, expected at most {limits.queries}")
        return await service.slow.run(_reverse, service, body)

    return router


def _explain(service: Service, body: ExplainBody) -> Response:
    search, query = service.search(), query_of(service, body)
    found = search.explain_query(*query, body.pattern, k=search.table.num_patterns or 1).to_json()
    # The one that is asked for comes too, however improbable it is.
    found["patterns"] = [p for rank, p in enumerate(found["patterns"]) if rank < body.k or p["id"] == body.pattern]
    if body.foreground is not None:
        row_of(search.gallery, body.foreground)
        pair = search.reverse(body.foreground, [SearchQuery(*query)])[0].to_json()
        found |= {name: pair[name] for name in ("score", "percentile", "parts", "why")}
    return json_answer({"version": version(search), "parts": {}, **found})


def _evidence(service: Service, body: EvidenceBody) -> Response:
    photo, box, category = query_of(service, body)
    height, width = photo.shape[:2]
    scale = min(1.0, body.max_side / max(width, height))
    if scale < 1:
        size = tuple(max(1, round(length * scale)) for length in (width, height))
        low, high = (np.multiply(box[i : i + 2], scale) for i in (0, 2))
        start = np.floor(low).astype(int)
        stop = np.minimum(np.maximum(np.ceil(high).astype(int), start + 1), size)
        photo, box = resize_rgb(photo, *size), [*start.tolist(), *stop.tolist()]
    picture = service.search().evidence(photo, box, category, body.pattern)
    return picture_answer(np.asarray(picture), "png")


def _reverse(service: Service, body: ReverseBody) -> Response:
    search = service.search()
    category = search.gallery.snapshot().value("category", row_of(search.gallery, body.foreground))
    queries = (SearchQuery(service.pictures.photo(q.photo), q.box, category) for q in body.queries)
    hits = search.reverse(body.foreground, queries, k=body.k, weights=body.weights)
    return json_answer({"version": version(search), "results": [hit.to_json() for hit in hits]})
