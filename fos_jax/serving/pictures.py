"""Uploaded pictures: kept in a temporary folder under their SHA-256, decoded ones held in memory."""

import collections
import contextlib
import hashlib
import os
import re
import threading
import time
import uuid
from pathlib import Path

import numpy as np
from fastapi import APIRouter, File, UploadFile
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from fos_jax.errors import InputError
from fos_jax.images import matte, read_pixels
from fos_jax.serving.answers import json_answer
from fos_jax.serving.service import Service

_NAME = re.compile(r"[0-9a-f]{64}")


class Pictures:
    """Pictures that clients handed in, for all processes of a service."""

    def __init__(self, folder: Path, *, max_pixels: int, stored_bytes: int, stored_s: float, decoded_bytes: int):
        """Keeps them in a folder that is made where it is missing; limits as `settings.Limits`."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._max_pixels = folder, max_pixels
        self._stored_bytes, self._stored_s, self._decoded_bytes = stored_bytes, stored_s, decoded_bytes
        self._decoded: collections.OrderedDict[str, np.ndarray] = collections.OrderedDict()
        self._lock = threading.Lock()

    def add(self, data: bytes) -> tuple[str, np.ndarray]:
        """Keeps a picture; returns its name and its pixels, uint8 [h, w, 3 or 4].

        Raises:
          InputError: no picture of a known format, a damaged one, or one of too many pixels.
        """
        pixels = read_pixels(data, max_pixels=self._max_pixels, where="file")
        name = hashlib.sha256(data).hexdigest()
        path = self._folder / name
        if path.exists():
            self._touch(path)
        else:
            self._make_room(len(data))
            aside = path.with_name(f"{uuid.uuid4().hex}.part")  # no need to outlast a crash: it is not flushed
            aside.write_bytes(data)
            aside.rename(path)
        self._hold(name, pixels)
        return name, pixels

    def pixels(self, name: str) -> np.ndarray:
        """uint8 [h, w, 3 or 4] of a picture; `HTTPException` 404 where it is not kept (any more)."""
        if not _NAME.fullmatch(name):
            raise InputError(
                f"picture: got {name[:80]!r}, expected 64 hexadecimal digits as POST /api/pictures returns"
            )
        path = self._folder / name
        with self._lock:
            held = self._decoded.get(name)
            if held is not None:
                self._decoded.move_to_end(name)
        try:
            if held is None:
                data = path.read_bytes()
                held = read_pixels(data, max_pixels=self._max_pixels, where="picture")
                self._hold(name, held)
            self._touch(path)
        except FileNotFoundError:
            raise HTTPException(404, "picture: not kept here (any more), upload it again") from None
        return held

    def photo(self, name: str) -> np.ndarray:
        """uint8 [h, w, 3] of a photograph, matted where it has transparency; raises as `pixels`."""
        pixels = self.pixels(name)
        return matte(pixels) if pixels.shape[2] == 4 else pixels

    def cutout(self, name: str) -> np.ndarray:
        """uint8 [h, w, 4] of a cut-out; raises as `pixels`, and `InputError` where it has no transparency."""
        pixels = self.pixels(name)
        if pixels.shape[2] != 4:
            raise InputError("cutout: has no alpha channel, expected a cut-out with transparency")
        return pixels

    def _touch(self, path: Path) -> None:
        os.utime(path)

    def _hold(self, name: str, pixels: np.ndarray) -> None:
        pixels.setflags(write=False)
        with self._lock:
            self._decoded[name] = pixels
            self._decoded.move_to_end(name)
            while len(self._decoded) > 1 and sum(p.nbytes for p in self._decoded.values()) > self._decoded_bytes:
                self._decoded.popitem(last=False)

    def _make_room(self, num_bytes: int) -> None:
        """Deletes what was not used for long, and then what was used longest ago, until the picture has room."""
        kept = []
        for entry in os.scandir(self._folder):
            with contextlib.suppress(FileNotFoundError):  # another process deletes too
                stat = entry.stat()
                kept.append((stat.st_mtime, stat.st_size, entry.path))
        total = sum(size for _, size, _ in kept) + num_bytes
        for used_s, size, path in sorted(kept):
            if total <= self._stored_bytes and time.time() - used_s <= self._stored_s:
                break
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)
            total -= size


class PictureReply(BaseModel):
    """A picture that is kept."""

    picture: str
    width: int
    height: int
    has_alpha: bool


def routes(service: Service) -> APIRouter:
    """`POST /api/pictures`."""
    router = APIRouter(tags=["pictures"])

    @router.post("/api/pictures", response_model=PictureReply)
    async def upload(file: UploadFile = File(description="Photograph or cut-out: JPEG, PNG, WebP, ...")) -> Response:  # noqa: B008
        """Hands in a photograph or a cut-out; the answer names it for other requests."""
        data = await file.read()
        return await service.decoding.run(_add, service.pictures, data)

    return router


def _add(pictures: Pictures, data: bytes) -> Response:
    name, pixels = pictures.add(data)
    height, width, channels = pixels.shape
    return json_answer({"picture": name, "width": width, "height": height, "has_alpha": channels == 4})
