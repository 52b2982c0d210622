"""Shared parts of the service: the search, the uploads, and the queues in front of both."""

import gc
import json
import threading
from pathlib import Path
from typing import Any

from absl import logging
from starlette.exceptions import HTTPException

from fos_jax.errors import InputError
from fos_jax.gallery.gallery import Gallery
from fos_jax.gallery.snapshot import CategoryRows, Snapshot
from fos_jax.retrieval.search import ForegroundSearch
from fos_jax.serving.batching import SIZES, BatchingBundle
from fos_jax.serving.gates import Gate
from fos_jax.serving.observing import Metrics
from fos_jax.serving.settings import Settings


class Pinned:
    """A gallery as it is at one moment, so that all parts of an answer are of one version."""

    def __init__(self, gallery: Gallery):
        self._gallery, self._state = gallery, gallery.snapshot()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gallery, name)

    def snapshot(self) -> Snapshot:
        """The moment's."""
        return self._state

    def category(self, name: str, *, mirror: bool = False) -> CategoryRows:
        """See `Snapshot.category`."""
        return self._state.category(name, mirror=mirror)

    def row_of(self, identifier: str) -> int:
        """See `Snapshot.row_of`."""
        return self._state.row_of(identifier)


class Service:
    """One process of the service.

    Attributes:
      settings, pictures, jobs, renewal, metrics: see there.
      gallery, bundle, table: what is searched; the bundle encodes in batches.
      searching, decoding, composing, reading, slow, changing: the queues; see `Gate`.
      examples: see `read_examples`.
      is_ready: whether the encoder has run once.
    """

    def __init__(self, settings: Settings, bundle: Any = None):
        """Opens the gallery and its bundle.

        Args:
          settings: what the process is told.
          bundle: the model, where it is not to be read from the settings' folder.

        Raises:
          InputError: no gallery or bundle there, or damaged ones.
        """
        from fos_jax.serving.jobs import Jobs
        from fos_jax.serving.pictures import Pictures
        from fos_jax.serving.renewal import Renewal

        self.settings, limits = settings, settings.limits
        opened = ForegroundSearch.open(settings.gallery, bundle or settings.bundle)
        self.gallery, self.table, self.metrics = opened.gallery, opened.table, Metrics()
        tell = self.metrics.batches.labels
        self.bundle = BatchingBundle(opened.bundle, tell=lambda size: tell(size).inc())
        self.pictures = Pictures(
            settings.folder / "pictures",
            max_pixels=limits.pixels,
            stored_bytes=limits.stored_bytes,
            stored_s=limits.stored_s,
            decoded_bytes=limits.decoded_bytes,
        )

        def gate(
            name: str, working: int, waiting: int, limit_s: float = limits.request_s, *, calm: float = 1.0
        ) -> Gate:
            return Gate(name, working=working, waiting=waiting, limit_s=limit_s, calm=calm, metrics=self.metrics)

        self.searching = gate("search", limits.working, limits.waiting, calm=0.25)
        self.decoding = gate("pictures", 1, 7)
        self.composing = gate("composites", 2, 6)
        self.reading = gate("foregrounds", 2, 256)
        self.slow = gate("explanations", 1, 3, limits.slow_s)
        self.changing = gate("changes", 1, 8, limits.slow_s)
        self._gates = (self.searching, self.decoding, self.composing, self.reading, self.slow, self.changing)
        self.examples = read_examples(settings.examples)
        self.jobs, self.renewal = Jobs(self), Renewal(self)
        self.is_ready = False

    def start(self) -> None:
        """Runs the encoder once in a thread, so that the first search need not wait for its compilation."""
        self.jobs.start()
        self.renewal.start()
        threading.Thread(target=self._warm_up, name="fos-warm-up", daemon=True).start()

    def stop(self) -> None:
        """Finishes what runs and closes the gallery."""
        self.jobs.close()
        self.renewal.close()
        for gate in self._gates:
            gate.close()
        self.gallery.close()

    def hidden(self, message: str) -> str:
        """A message without the gallery's place on the disk, which is nobody's business."""
        return message.replace(str(self.settings.gallery), "the gallery")

    def search(self) -> ForegroundSearch:
        """A search over the gallery as it is now; its `gallery` does not change any more."""
        return ForegroundSearch(Pinned(self.gallery), self.bundle)  # type: ignore[arg-type]

    def _warm_up(self) -> None:
        self.bundle.compile(SIZES[0])
        state = touched(self.gallery)
        self.is_ready = True
        logging.info("%d foregrounds, ready", len(state))
        for size in SIZES[1:]:
            self.bundle.compile(size)
        gc.collect()
        gc.freeze()  # what stays: each look through it would stop all requests for 0.1 s


def touched(gallery: Gallery) -> Snapshot:
    """A gallery's state whose categories are opened as searches use them."""
    state = gallery.snapshot()
    for category in state.categories:
        state.category(category).is_live  # noqa: B018
    return state


def row_of(state: Any, identifier: str) -> int:
    """Row of a foreground; `HTTPException` 404 where there is none."""
    try:
        return state.row_of(identifier)
    except InputError:
        raise HTTPException(404, f"foreground: there is no {identifier[:200]!r}") from None


_TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}


def read_examples(folder: Path | None) -> dict[str, dict[str, Any]]:
    """Example photographs by id, as `examples.json` lists them, each with its media type and the bytes of its file.

    The list has objects with id (also the name of the file, without suffix), category, box, width and height.

    Raises:
      InputError: a file that is missing, or a list that is none.
    """
    if folder is None:
        return {}
    path = folder / "examples.json"
    try:
        files = {file.stem: file for file in sorted(folder.iterdir()) if file.suffix.lower() in _TYPES}
        found = {}
        for entry in json.loads(path.read_bytes()):
            file = files[entry["id"]]  # among the folder's own: no path leaves it
            facts = {key: entry[key] for key in ("id", "category", "box", "width", "height")}
            found[entry["id"]] = {**facts, "type": _TYPES[file.suffix.lower()], "data": file.read_bytes()}
        return found
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror})") from None
    except (KeyError, TypeError, ValueError) as error:
        what = f"{type(error).__name__}: {error}"
        raise InputError(f"{path}: {what}, expected id (of a file), category, box, width, height of each") from None
