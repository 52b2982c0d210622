"""A client of `fos serve`, with the names of the Python interface.

search = Client("http://127.0.0.1:8766")
groups = search.patterns("street.jpg", box=(410, 220, 640, 380), category="car", k=3)
hits = search.instances("street.jpg", box=(410, 220, 640, 380), category="car", k=20, pattern=groups[1].id)
box = search.place("street.jpg", (410, 220, 640, 380), hits[0])
search.composite("street.jpg", [layer(hits[0], box, shadow=0.5)]).save("out.png")
"""

import dataclasses
import io
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeVar
from urllib.parse import quote

import httpx
from PIL import Image

from fos_jax.errors import InputError

Photo = str | os.PathLike | bytes
Box = Sequence[float]
T = TypeVar("T")
_USERS = (400, 404, 409, 413)
_BUSY = (429, 503)
_REMEMBERED = 256


class ServiceError(RuntimeError):
    """The service refused or failed for a reason other than what was asked; `status` is HTTP's, 0 without an answer."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


@dataclasses.dataclass(frozen=True)
class Hit:
    """One foreground that was found; attributes as `fos_jax.retrieval.hits.Hit`."""

    id: str
    rank: int
    score: float
    ranking: str
    category: str
    pattern: int
    confidence: float
    attributes: Mapping[str, str]
    description: str
    licence: str
    source_id: str
    tags: Sequence[str]
    width_px: int
    height_px: int
    is_mirrored: bool
    truncated: Sequence[str] | None
    parts: Mapping[str, float]
    why: str


@dataclasses.dataclass(frozen=True)
class PatternGroup:
    """One pattern that fits a query; attributes as `fos_jax.retrieval.groups.PatternGroup`."""

    id: int
    category: str
    description: str
    attributes: Mapping[str, str]
    probability: float
    size: int
    representatives: Sequence[Hit]
    hits: Sequence[Hit]


@dataclasses.dataclass(frozen=True)
class PairScore:
    """How well a cut-out fits a query; attributes as `fos_jax.retrieval.hits.PairScore`, percentile None for nan."""

    score: float
    posterior: float
    cosine: float
    percentile: float | None
    pattern: int
    parts: Mapping[str, float]
    why: str


@dataclasses.dataclass(frozen=True)
class ReverseHit:
    """One of many queries; attributes as `fos_jax.retrieval.pairs.ReverseHit`, percentile None for nan."""

    query: int
    rank: int
    score: float
    percentile: float | None
    pattern: int
    parts: Mapping[str, float]
    why: str


class Client:
    """A service at an address. Photographs are handed in once and named afterwards; busy times are waited out.

    Wherever a method fails: `InputError` for what the caller can put right, `ServiceError` else.
    """

    def __init__(
        self,
        address: str = "http://127.0.0.1:8766",
        *,
        key: str | None = None,
        timeout_s: float = 60.0,
        patience_s: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ):
        """Connects when something is asked.

        Args:
          address: of the service.
          key: of `fos keys`, where the service asks for one.
          timeout_s: for one answer.
          patience_s: how long to try again where the service says that it is busy.
          transport: another way to send requests than by HTTP.
        """
        headers = {"X-API-Key": key} if key else {}
        self._http = httpx.Client(base_url=address, headers=headers, timeout=timeout_s, transport=transport)
        self._patience_s = patience_s
        self._handed_in: dict[Any, str] = {}

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Searches; photographs are paths or encoded bytes, boxes x0, y0, x1, y1 in whole pixels, options as
    # `fos_jax.ForegroundSearch`; filters are the fields of `fos_jax.retrieval.rules.Filters`.

    def instances(self, photo: Photo, box: Box, category: str, **options: Any) -> list[Hit]:
        """The foregrounds that fit best; options: k, pattern, ranking, weights, filters, diversity."""
        return _read(list[Hit], self._ask("/api/search/instances", photo, box, category, options)["hits"])

    def patterns(self, photo: Photo, box: Box, category: str, **options: Any) -> list[PatternGroup]:
        """The most probable patterns; options: k, instances, representatives, attributes, ranking, weights, filters."""
        return _groups(self._ask("/api/search/patterns", photo, box, category, options))

    def overview(self, photo: Photo, box: Box, category: str, **options: Any) -> list[PatternGroup]:
        """Places shared out over patterns; options: total, coverage_weight, representatives, weights, filters."""
        return _groups(self._ask("/api/search/overview", photo, box, category, options))

    def score(self, photo: Photo, box: Box, category: str, cutout: Photo, **options: Any) -> PairScore:
        """How well a cut-out fits; options: truncated, weights."""
        return _read(PairScore, self._ask("/api/score", photo, box, category, options, cutout=cutout))

    def explain_query(self, photo: Photo, box: Box, category: str, **options: Any) -> dict[str, Any]:
        """What a query speaks for, as `QueryExplanation.to_json`; options: pattern, foreground (an id), k."""
        return self._ask("/api/explain", photo, box, category, options)

    def evidence(self, photo: Photo, box: Box, category: str, **options: Any) -> Image.Image:
        """The photograph with what speaks for a pattern in red; options: pattern, max_side."""
        return _picture(self._ask("/api/evidence", photo, box, category, options))

    def similar(self, identifier: str, *, k: int = 20, ranking: str = "cosine") -> list[Hit]:
        """More like a foreground of the gallery."""
        found = self._json("GET", f"{_address(identifier)}/similar", params={"k": k, "ranking": ranking})
        return _read(list[Hit], found["hits"])

    def reverse(self, foreground: str, queries: Sequence[tuple[Photo, Box]], **options: Any) -> list[ReverseHit]:
        """The queries that a foreground of the gallery fits best; options: k, weights."""

        def body() -> dict[str, Any]:
            asked = [{"photo": self.hand_in(photo), "box": list(box)} for photo, box in queries]
            return {"foreground": foreground, "queries": asked, **options}

        return _read(list[ReverseHit], self._with_pictures("/api/reverse", body)["results"])

    # Composites.

    def place(self, photo: Photo, box: Box, foreground: Hit | str, *, mirrored: bool = False) -> list[float]:
        """Where a foreground stands in a rectangle: x0, y0, x1, y1 of its visible part."""
        shown = foreground if isinstance(foreground, str) else foreground.id
        mirrored = mirrored or (isinstance(foreground, Hit) and foreground.is_mirrored)

        def body() -> dict[str, Any]:
            return {"photo": self.hand_in(photo), "box": list(box), "foreground": shown, "mirrored": mirrored}

        return self._with_pictures("/api/place", body)["box"]

    def composite(
        self,
        photo: Photo,
        layers: Sequence[Mapping[str, Any]],
        *,
        output: Literal["composite", "layer"] = "composite",
        max_side: int | None = None,
    ) -> Image.Image:
        """The photograph with layers (see `layer`), the lowest first; or these alone with transparency."""

        def body() -> dict[str, Any]:
            own = {"photo": self.hand_in(photo), "layers": [dict(entry) for entry in layers]}
            return {**own, "output": output, "max_side": max_side}

        return _picture(self._with_pictures("/api/composite", body))

    # The gallery.

    def gallery(self) -> dict[str, Any]:
        """What is searched, and what may be asked for."""
        return self._json("GET", "/api/gallery")

    def foregrounds(self, category: str, *, pattern: int | None = None, page: int = 100) -> Iterator[dict[str, Any]]:
        """Metadata of the foregrounds of a category or a pattern, asked for page by page."""
        asked: dict[str, Any] = {"category": category, "limit": page, "offset": 0}
        if pattern is not None:
            asked["pattern"] = pattern
        while found := self._json("GET", "/api/foregrounds", params=asked)["foregrounds"]:
            yield from found
            asked["offset"] += len(found)

    def thumbnail(self, identifier: str, *, mirrored: bool = False) -> Image.Image:
        """Small RGBA picture of a foreground."""
        return _picture(self._send("GET", f"{_address(identifier)}/thumbnail", params={"mirrored": mirrored}).content)

    def cutout(self, identifier: str, *, mirrored: bool = False) -> Image.Image:
        """RGBA picture of a foreground's visible part at full resolution."""
        return _picture(self._send("GET", f"{_address(identifier)}/cutout", params={"mirrored": mirrored}).content)

    def add(self, cutout: Photo, identifier: str, category: str, **metadata: Any) -> int:
        """Adds a foreground and returns the number of the change; metadata: licence, source_id, tags, truncated."""
        return self._put("POST", "/api/foregrounds", cutout, identifier, category, metadata)

    def replace(self, cutout: Photo, identifier: str, category: str, **metadata: Any) -> int:
        """Puts a foreground in the place of one; as `add`."""
        return self._put("PUT", _address(identifier), cutout, identifier, category, metadata)

    def remove(self, identifier: str) -> int:
        """Removes a foreground; returns the number of the change."""
        return self._json("DELETE", _address(identifier))["version"]

    def hand_in(self, picture: Photo) -> str:
        """Name of a picture at the service, to which it is sent once."""
        data = picture if isinstance(picture, bytes) else None
        if data is None:
            try:
                stat = os.stat(picture)
                known: Any = (str(picture), stat.st_mtime_ns, stat.st_size)
            except OSError as error:
                raise InputError(f"{picture!s}: cannot be read ({error.strerror})") from None
        else:
            known = hash(data), len(data)
        if known not in self._handed_in:
            data = Path(picture).read_bytes() if data is None else data  # type: ignore[arg-type]
            while len(self._handed_in) >= _REMEMBERED:
                self._handed_in.pop(next(iter(self._handed_in)))
            self._handed_in[known] = self._json("POST", "/api/pictures", files={"file": data})["picture"]
        return self._handed_in[known]

    # How it is sent.

    def _ask(
        self, path: str, photo: Photo, box: Box, category: str, options: Mapping[str, Any], cutout: Photo | None = None
    ) -> Any:
        def body() -> dict[str, Any]:
            handed = {} if cutout is None else {"cutout": self.hand_in(cutout)}
            return {"photo": self.hand_in(photo), "box": list(box), "category": category, **options, **handed}

        return self._with_pictures(path, body)

    def _with_pictures(self, path: str, body: Any) -> Any:
        """The answer to a body that names pictures, which are handed in again where the service forgot them."""
        try:
            answer = self._send("POST", path, json=body())
        except InputError as error:
            if "upload it again" not in str(error):
                raise
            self._handed_in.clear()
            answer = self._send("POST", path, json=body())
        return answer.json() if answer.headers["content-type"] == "application/json" else answer.content

    def _put(self, method: str, path: str, cutout: Photo, identifier: str, category: str, metadata: Any) -> int:
        data = cutout if isinstance(cutout, bytes) else Path(cutout).read_bytes()
        told = json.dumps({"id": identifier, "category": category, **metadata})
        return self._json(method, path, files={"file": data}, data={"metadata": told})["version"]

    def _json(self, method: str, path: str, **options: Any) -> Any:
        return self._send(method, path, **options).json()

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        deadline_s = time.monotonic() + self._patience_s
        while True:
            try:
                answer = self._http.request(method, path, **options)
            except httpx.HTTPError as error:
                raise ServiceError(0, f"{self._http.base_url}: {error or type(error).__name__}") from None
            if answer.is_success:
                return answer
            wait_s = float(answer.headers.get("retry-after", "1"))
            if answer.status_code not in _BUSY or time.monotonic() + wait_s > deadline_s:
                break
            time.sleep(wait_s)
        try:
            message = answer.json()["error"]
        except (ValueError, KeyError, TypeError):
            message = f"{self._http.base_url}: status {answer.status_code}"
        if answer.status_code in _USERS:
            raise InputError(message)
        raise ServiceError(answer.status_code, message)


def layer(hit: Hit | str, box: Box, **options: Any) -> dict[str, Any]:
    """A layer of a composite: a hit or an id, and where its visible part goes.

    Options: mirrored, harmonise and shadow (0 to 1), blend ("none" or "poisson").
    """
    if isinstance(hit, str):
        return {"foreground": hit, "box": list(box), **options}
    return {"foreground": hit.id, "box": list(box), "mirrored": hit.is_mirrored, **options}


def _address(identifier: str) -> str:
    return f"/api/foregrounds/{quote(identifier, safe='')}"


def _read(kind: type[T], found: Any) -> T:
    """A dataclass, or a list of them, from JSON; fields of later versions are left out."""
    if isinstance(found, list):
        own = kind.__args__[0]  # type: ignore[attr-defined]
        return [_read(own, entry) for entry in found]  # type: ignore[return-value]
    names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in found.items() if name in names})


def _groups(found: Mapping[str, Any]) -> list[PatternGroup]:
    groups = _read(list[PatternGroup], found["groups"])
    return [
        dataclasses.replace(
            group, representatives=_read(list[Hit], group.representatives), hits=_read(list[Hit], group.hits)
        )
        for group in groups
    ]


def _picture(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture
