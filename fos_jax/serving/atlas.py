"""The atlas: the patterns of a category on a map of the latent space."""

import functools
from typing import Any

import numpy as np
from fastapi import APIRouter
from starlette.responses import Response

from fos_jax.gallery.snapshot import Snapshot
from fos_jax.serving.answers import json_answer
from fos_jax.serving.foregrounds import Category
from fos_jax.serving.replies import AtlasReply
from fos_jax.serving.service import Service

_REPRESENTATIVES = 3


def routes(service: Service) -> APIRouter:
    """`/api/atlas`."""
    router = APIRouter(tags=["foregrounds"])

    @functools.lru_cache(64)
    def plane(category: str) -> list[list[float]]:  # prototypes never change
        from fos_jax.report.latent_map import flatten_to_plane

        return flatten_to_plane(service.bundle.prototypes[service.gallery.layout.patterns(category)]).tolist()

    @functools.lru_cache(16)
    def drawn(state: Snapshot, category: str) -> list[dict[str, Any]]:
        rows = state.category(category)
        found = []
        for number, (x, y) in zip(rows.patterns.tolist(), plane(category), strict=True):
            pattern = service.table.patterns[number]
            prototype = np.asarray(service.bundle.prototypes[number], np.float32)
            _, places = rows.search(prototype, "cosine", _REPRESENTATIVES, pattern=number)
            found.append(
                {
                    "id": number,
                    "description": pattern.description,
                    "attributes": dict(pattern.attributes),
                    "size": rows.count(None, number),
                    "x": x,
                    "y": y,
                    "representatives": [state.value("id", int(rows.rows[int(place)])) for place in places],
                }
            )
        return found

    def atlas(category: str) -> Response:
        state = service.gallery.snapshot()
        state.category(category)  # an unknown one is refused
        return json_answer({"version": state.sequence, "patterns": drawn(state, category)})

    @router.get("/api/atlas", response_model=AtlasReply)
    async def of_category(category: Category) -> Response:
        """Patterns with their places on a map (alike ones lie together), counts and representatives."""
        return await service.slow.run(atlas, category)

    return router
