"""Changes of the gallery: adding, replacing and removing a foreground."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, File, Form, UploadFile
from pydantic import ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from fos_jax.errors import InputError
from fos_jax.gallery.writer import GalleryWriter
from fos_jax.images import read_cutout
from fos_jax.serving.answers import json_answer
from fos_jax.serving.foregrounds import Identifier
from fos_jax.serving.replies import ChangeReply
from fos_jax.serving.requests import Body, Name
from fos_jax.serving.service import Service, row_of

if TYPE_CHECKING:
    from fos_jax.gallery.sources import CutoutRecord

Side = Literal["left", "top", "right", "bottom"]
_EXAMPLE: Any = {"id": "mine-1", "category": "car", "licence": "CC0", "tags": ["spring"], "truncated": []}


class RecordFields(Body):
    """What is known of a foreground; `truncated` are the sides at which its photograph cut it, null where unknown."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, json_schema_extra={"examples": [_EXAMPLE]})

    id: Annotated[str, Field(min_length=1, max_length=500)]
    category: Name
    licence: Name = ""
    source_id: Annotated[str, Field(max_length=500)] = ""
    tags: Annotated[list[Name], Field(max_length=100)] = Field([])
    truncated: Annotated[list[Side], Field(max_length=4)] | None = None

    def record(self, rgba: np.ndarray) -> "CutoutRecord":
        """As galleries take it; rgba: uint8 [h, w, 4]."""
        from fos_jax.gallery.sources import CutoutRecord  # what reads sources takes time to load, and starts are quick

        truncated = None if self.truncated is None else tuple(self.truncated)
        return CutoutRecord(
            self.id,
            self.category,
            rgba,
            source_id=self.source_id,
            licence=self.licence,
            tags=self.tags,
            truncated=truncated,
        )


class Records:
    """Records as a source of cut-outs; `tell` is called with the number of those that were taken."""

    name = "service"

    def __init__(self, records: Sequence[Callable[[], "CutoutRecord"]], tell: Callable[[int], None] = lambda n: None):
        """Records that are made one by one."""
        self._records, self._tell, self.skipped = records, tell, Counter[str]()

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator["CutoutRecord"]:
        for number, make in enumerate(self._records):
            yield make()
            self._tell(number + 1)


def change(service: Service, action: Literal["add", "replace"], source: Records, note: str) -> int:
    """Encodes records and adds or replaces them, all or none; returns the number of the change.

    Raises:
      InputError: as `GalleryWriter.add`.
    """
    from fos_jax.gallery.encoding import Encoder

    with GalleryWriter(service.settings.gallery) as writer:
        manifest = writer.manifest
        encoder = Encoder(
            service.bundle,
            cutouts=manifest["cutouts"],
            mirror=manifest["mirror"],
            thumbnail_size=manifest["thumbnail_size"],
            batch_size=32,
        )
        number = getattr(writer, action)(encoder.encode(source), note=note)
    service.gallery.refresh()
    return number


def routes(service: Service) -> APIRouter:
    """`POST`, `PUT` and `DELETE` of `/api/foregrounds`."""
    router = APIRouter(tags=["changes"])
    File_ = Annotated[UploadFile, File(description="The cut-out: PNG or WebP with transparency.")]
    Metadata = Annotated[
        str, Form(description="JSON of RecordFields.", examples=['{"id": "mine-1", "category": "car"}'])
    ]

    def put(action: Literal["add", "replace"], data: bytes, fields: RecordFields, status: int) -> Response:
        rgba = read_cutout(data, max_pixels=service.settings.limits.pixels, where="file")
        number = change(service, action, Records([lambda: fields.record(rgba)]), f"service: {action}")
        return json_answer({"id": fields.id, "version": number}, status=status)

    @router.post("/api/foregrounds", status_code=201, response_model=ChangeReply)
    async def add(file: File_, metadata: Metadata) -> Response:
        """Adds a foreground; when the answer comes, it is on the disk and found by searches."""
        fields = _fields(metadata)
        if _is_there(service, fields.id):
            raise HTTPException(409, f"id: {fields.id!r} is in the gallery already")
        return await service.changing.run(put, "add", await file.read(), fields, 201)

    @router.put("/api/foregrounds/{identifier:path}", response_model=ChangeReply)
    async def replace(identifier: Identifier, file: File_, metadata: Metadata) -> Response:
        """Puts a foreground in the place of one."""
        fields = _fields(metadata)
        if fields.id != identifier:
            raise InputError(f"id: metadata has {fields.id!r}, expected {identifier!r} as in the address")
        row_of(service.gallery.refresh(), identifier)
        return await service.changing.run(put, "replace", await file.read(), fields, 200)

    @router.delete("/api/foregrounds/{identifier:path}", response_model=ChangeReply)
    async def remove(identifier: Identifier) -> Response:
        """Removes a foreground."""
        return await service.changing.run(_remove, service, identifier)

    return router


def _remove(service: Service, identifier: str) -> Response:
    row_of(service.gallery.refresh(), identifier)
    with GalleryWriter(service.settings.gallery) as writer:
        number = writer.remove([identifier], note="service: remove")
    service.gallery.refresh()
    return json_answer({"id": identifier, "version": number})


def _is_there(service: Service, identifier: str) -> bool:
    try:
        service.gallery.refresh().row_of(identifier)
    except InputError:
        return False
    return True


def _fields(text: str) -> RecordFields:
    try:
        return RecordFields.model_validate_json(text)
    except ValidationError as error:
        first: Any = error.errors()[0]
        where = ".".join(["metadata", *map(str, first["loc"])])
        raise InputError(f"{where}: {first['msg']}") from None
