"""Composites: foregrounds in the photograph."""

import io
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from fos_jax.compose.layers import Layer, compose_layers, layer_rgba
from fos_jax.compose.placement import placement
from fos_jax.errors import InputError
from fos_jax.gallery.foregrounds import parse_sides
from fos_jax.images import resize_rgb
from fos_jax.serving.answers import json_answer
from fos_jax.serving.requests import EXAMPLE_PICTURE, Body, Box, Name, PictureId
from fos_jax.serving.service import Service, row_of

Place = Annotated[
    list[Annotated[float, Field(ge=-1e6, le=1e6)]],
    Field(min_length=4, max_length=4, description="x0, y0, x1, y1 in pixels of the photograph; may leave it"),
]
Share = Annotated[float, Field(ge=0, le=1)]


class LayerFields(Body):
    """A foreground and where its visible part goes."""

    foreground: Name
    box: Place
    mirrored: bool = False
    harmonise: Share = 0.0
    shadow: Share = 0.0
    blend: Literal["none", "poisson"] = "none"


_LAYER: Any = {"foreground": "test-car-000001", "box": [40, 60, 200, 180], "harmonise": 0.5}


class CompositeBody(Body):
    """A photograph with layers, the lowest first."""

    model_config = ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        json_schema_extra={"examples": [{"photo": EXAMPLE_PICTURE, "layers": [_LAYER], "format": "jpeg"}]},
    )

    photo: PictureId
    layers: list[LayerFields]
    output: Literal["composite", "layer"] = "composite"
    format: Literal["png", "jpeg", "webp"] = "png"
    max_side: Annotated[int, Field(ge=16, le=100_000)] | None = None


class PlaceBody(Body):
    """A foreground that is to stand in a rectangle."""

    photo: PictureId
    box: Box
    foreground: Name
    mirrored: bool = False


class PlaceReply(BaseModel):
    """Where its visible part goes."""

    box: list[float]


def routes(service: Service) -> APIRouter:
    """`/api/composite` and `/api/place`."""
    router, limits = APIRouter(tags=["composites"]), service.settings.limits

    @router.post(
        "/api/composite",
        response_class=Response,
        responses={200: {"content": {f"image/{kind}": {} for kind in ("png", "jpeg", "webp")}}},
    )
    async def composite(body: CompositeBody) -> Response:
        """The photograph with foregrounds in it, or these alone with transparency."""
        if len(body.layers) > limits.layers:
            raise InputError(f"layers: got {len(body.layers)}, expected at most {limits.layers}")
        return await service.composing.run(_composite, service, body)

    @router.post("/api/place", response_model=PlaceReply)
    async def place(body: PlaceBody) -> Response:
        """Where a foreground stands in a rectangle."""
        return await service.reading.run(_place, service, body)

    return router


def _composite(service: Service, body: CompositeBody) -> Response:
    if body.output == "layer" and body.format == "jpeg":
        raise InputError("format: got jpeg, expected png or webp for a layer, which has transparency")
    photo = service.pictures.photo(body.photo)
    scale = min(1.0, (body.max_side or 10**9) / max(photo.shape[:2]))
    if scale < 1:
        photo = resize_rgb(photo, max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale)))
    state = service.gallery.snapshot()
    layers = [
        Layer(
            state.cutout(row_of(state, layer.foreground)),
            [value * scale for value in layer.box],
            mirrored=layer.mirrored,
            harmonise=layer.harmonise,
            shadow=layer.shadow,
            blend=layer.blend,
        )
        for layer in body.layers
    ]
    made = layer_rgba(photo, layers) if body.output == "layer" else compose_layers(photo, layers)
    return picture_answer(made, body.format)


def _place(service: Service, body: PlaceBody) -> Response:
    height, width = service.pictures.pixels(body.photo).shape[:2]
    state = service.gallery.snapshot()
    row = row_of(state, body.foreground)
    cutout = state.cutout(row)
    truncated = parse_sides(state.value("truncated", row), body.mirrored)
    shown = cutout[:, ::-1] if body.mirrored else cutout
    return json_answer({"box": placement(shown, body.box, width, height, truncated=truncated)})


def picture_answer(pixels: np.ndarray, kind: str) -> Response:
    """A picture, uint8 [h, w, 3 or 4], as a response."""
    buffer = io.BytesIO()
    options: Any = {"png": {"compress_level": 1}, "jpeg": {"quality": 93}, "webp": {"quality": 90}}
    Image.fromarray(pixels).save(buffer, kind.upper(), **options[kind])
    return Response(buffer.getvalue(), media_type=f"image/{kind}", headers={"Cache-Control": "no-store"})
