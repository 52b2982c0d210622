"""Settings of the service, and the limits of what it takes."""

import dataclasses
from pathlib import Path

from fos_jax.web.guard import LOOPBACK


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a request may ask for, and how much is done at a time in one process.

    Attributes:
      upload_bytes: of a request that hands in a picture. json_bytes: of any other.
      pixels: of a picture, known before it is decoded.
      k: foregrounds in an answer. queries: rectangles in a request. layers: of a composite.
      body_s: seconds in which a request must have come. request_s: for an answer. slow_s: for an occlusion map.
      working: searches at a time. waiting: further ones that wait; the rest are refused with 429.
      stored_bytes: of all uploads that are kept. stored_s: seconds that an upload is kept after its last use.
      decoded_bytes: of decoded photographs that are held in memory.
      rate: requests of one client (key, or address where there are no keys) in one process, as "50/second"; "" for any
        number.
    """

    upload_bytes: int = 32_000_000
    json_bytes: int = 1_000_000
    pixels: int = 50_000_000
    k: int = 200
    queries: int = 100
    layers: int = 32
    body_s: float = 30.0
    request_s: float = 15.0
    slow_s: float = 120.0
    working: int = 1  # a search keeps a core busy; on an accelerator 8 are encoded together
    waiting: int = 1  # who waits is served late, and others with them
    stored_bytes: int = 1_000_000_000
    stored_s: float = 86_400.0
    decoded_bytes: int = 400_000_000
    rate: str = ""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a process of the service is told.

    Attributes:
      gallery: folder of the gallery. bundle: folder of its model, None for the one that the gallery names.
      folder: temporary folder of uploads and jobs, shared by the processes of one service.
      examples: folder of photographs with `examples.json`, None for none.
      keys: file of keys, None where everybody may read.
      allow_changes: whether the gallery may be changed without a key.
      hosts: names that requests may call the server by.
      workers: processes that serve.
      limits: see `Limits`.
    """

    gallery: Path
    folder: Path
    bundle: Path | None = None
    examples: Path | None = None
    keys: Path | None = None
    allow_changes: bool = False
    hosts: frozenset[str] = LOOPBACK
    workers: int = 1
    limits: Limits = Limits()
