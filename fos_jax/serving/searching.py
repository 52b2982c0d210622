"""Searches: instances, patterns, overview, a score for a pair."""

import dataclasses
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from fos_jax.errors import InputError
from fos_jax.explain.differences import attribute_marginals
from fos_jax.retrieval.hits import Hit
from fos_jax.retrieval.queries import SearchQuery, encode_queries
from fos_jax.retrieval.search import ForegroundSearch
from fos_jax.serving.answers import json_answer
from fos_jax.serving.replies import HitsReply, PatternsReply, ScoreReply
from fos_jax.serving.requests import EXAMPLE_PICTURE, Name, PictureId, Query, Ranked, Weights, example
from fos_jax.serving.service import Service

Ranking = Literal["posterior", "cosine"]
Attributes = Annotated[dict[Name, Name], Field(max_length=32)]


class InstancesBody(Ranked):
    """The k foregrounds that fit best."""

    model_config = example(k=5)

    k: Annotated[int, Field(ge=1)] = 20
    pattern: int | None = None
    ranking: Ranking = "posterior"
    diversity: Annotated[float, Field(ge=0, le=1)] = 0.0


class PatternsBody(Ranked):
    """The most probable patterns; of `attributes`, all that are named must be as named."""

    model_config = example(k=3, instances=4)

    k: Annotated[int, Field(ge=1)] = 3
    instances: Annotated[int, Field(ge=1)] = 8
    representatives: Annotated[int, Field(ge=1)] = 3
    ranking: Ranking = "posterior"
    attributes: Attributes = Field({})


class OverviewBody(Ranked):
    """A number of places shared out over the patterns that may fit."""

    model_config = example(total=10)

    total: Annotated[int, Field(ge=1)] = 20
    coverage_weight: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    representatives: Annotated[int, Field(ge=1)] = 3


class ScoreBody(Query):
    """A query and a cut-out that was handed in."""

    model_config = example(cutout=EXAMPLE_PICTURE)

    cutout: PictureId
    truncated: list[Literal["left", "top", "right", "bottom"]] | None = None
    weights: Weights = Field({})


def routes(service: Service) -> APIRouter:
    """`/api/search/...` and `/api/score`."""
    router, limits = APIRouter(tags=["search"]), service.settings.limits

    def instances(body: InstancesBody) -> Response:
        search, query = service.search(), query_of(service, body)
        hits = search.instances(*query, **body.options())
        is_few = len(hits) < body.k
        few = search.why_few(*query, pattern=body.pattern, filters=body.filters.filters()) if is_few else ""
        return json_answer({"version": version(search), "hits": list(map(hit_json, hits)), "refused": said(few)})

    def patterns(body: PatternsBody) -> Response:
        search, query = service.search(), query_of(service, body)
        groups = search.patterns(*query, **body.options())
        few = search.why_few(*query, filters=body.filters.filters()) if len(groups) < body.k else ""
        found, values = list(map(group_json, groups)), _attributes(search, query)
        return json_answer({"version": version(search), "groups": found, "attributes": values, "refused": said(few)})

    def overview(body: OverviewBody) -> Response:
        search, query = service.search(), query_of(service, body)
        groups = search.overview(*query, **body.options())
        few = "" if groups else search.why_few(*query, filters=body.filters.filters())
        return json_answer({"version": version(search), "groups": list(map(group_json, groups)), "refused": said(few)})

    def score(body: ScoreBody) -> Response:
        search, query = service.search(), query_of(service, body)
        truncated = None if body.truncated is None else tuple(body.truncated)
        found = search.score(*query, service.pictures.cutout(body.cutout), truncated=truncated, weights=body.weights)
        return json_answer({"version": version(search), **dataclasses.asdict(found)})

    @router.post("/api/search/instances", response_model=HitsReply)
    async def search_instances(body: InstancesBody) -> Response:
        """The foregrounds that fit best, best first."""
        check_counts(limits.k, k=body.k)
        return await service.searching.run(instances, body)

    @router.post("/api/search/patterns", response_model=PatternsReply)
    async def search_patterns(body: PatternsBody) -> Response:
        """The most probable patterns, each with its best foregrounds, and what is probable of each attribute."""
        check_counts(limits.k, k=body.k, instances=body.instances, representatives=body.representatives)
        return await service.searching.run(patterns, body)

    @router.post("/api/search/overview", response_model=PatternsReply)
    async def search_overview(body: OverviewBody) -> Response:
        """A few foregrounds of all patterns that may fit."""
        check_counts(limits.k, total=body.total, representatives=body.representatives)
        return await service.searching.run(overview, body)

    @router.post("/api/score", response_model=ScoreReply)
    async def score_pair(body: ScoreBody) -> Response:
        """How well a cut-out that was handed in fits."""
        return await service.searching.run(score, body)

    return router


def query_of(service: Service, body: Query) -> tuple[np.ndarray, list[int], str]:
    return service.pictures.photo(body.photo), body.box, body.category


def version(search: ForegroundSearch) -> int:
    """Number of the gallery's last change that the search knows of."""
    return search.gallery.snapshot().sequence


def hit_json(hit: Hit) -> dict[str, Any]:
    """A hit without what means nothing outside the process."""
    found = hit.to_json()
    del found["row"]
    return found


def group_json(group: Any) -> dict[str, Any]:
    """A group of hits."""
    found = {name: getattr(group, name) for name in ("id", "category", "description", "probability", "size")}
    hits = {name: [hit_json(hit) for hit in getattr(group, name)] for name in ("representatives", "hits")}
    return {**found, "attributes": dict(group.attributes), **hits}


def said(refused: str) -> str | None:
    """Why there are few, in the words of this interface; None where nothing is refused."""
    return refused.replace("--", "") or None


def check_counts(most: int, **counts: int) -> None:
    """`InputError` where a number of foregrounds is beyond the limit."""
    for name, value in counts.items():
        if value > most:
            raise InputError(f"{name}: got {value}, expected at most {most}")


def _attributes(search: ForegroundSearch, query: tuple[np.ndarray, list[int], str]) -> dict[str, dict[str, float]]:
    encoded = encode_queries([SearchQuery(*query)], search.bundle)[0]  # remembered: the search has encoded it
    ids = search.gallery.category(encoded.category).patterns
    return attribute_marginals(encoded.log_posterior, search.table, ids)
