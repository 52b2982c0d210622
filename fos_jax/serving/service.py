"""What the parts of the service share: the search, the uploads, and the queues in front of both."""

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import logging
from starlette.exceptions import HTTPException

from fos_jax.errors import InputError
from fos_jax.gallery.gallery import Gallery
from fos_jax.gallery.snapshot import CategoryRows, Snapshot
from fos_jax.retrieval.search import ForegroundSearch
from fos_jax.serving.batching import SIZES, BatchingBundle
from fos_jax.serving.gates import Gate
from fos_jax.serving.settings import Settings

if TYPE_CHECKING:
    pass


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
      settings, pictures: see there.
      searching, decoding, composing, slow, reading: the queues; see `Gate`.
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
        from fos_jax.serving.pictures import Pictures

        self.settings, limits = settings, settings.limits
        opened = ForegroundSearch.open(settings.gallery, bundle or settings.bundle)
        self.gallery, self.bundle = opened.gallery, BatchingBundle(opened.bundle)
        self.table = opened.table
        self.pictures: Pictures = Pictures(
            settings.folder / "pictures",
            max_pixels=limits.pixels,
            stored_bytes=limits.stored_bytes,
            stored_s=limits.stored_s,
            decoded_bytes=limits.decoded_bytes,
        )
        self.searching = Gate("search", working=limits.working, waiting=limits.waiting, limit_s=limits.request_s)
        self.decoding = Gate("pictures", working=2, waiting=6, limit_s=limits.request_s)
        self.composing = Gate("composites", working=2, waiting=6, limit_s=limits.request_s)
        self.slow = Gate("explanations", working=1, waiting=3, limit_s=limits.slow_s)
        self.reading = Gate("foregrounds", working=2, waiting=64, limit_s=limits.request_s)
        self.examples = read_examples(settings.examples)
        self.is_ready = False

    def start(self) -> None:
        """Runs the encoder once in a thread, so that the first search need not wait for its compilation."""
        threading.Thread(target=self._warm_up, name="fos-warm-up", daemon=True).start()

    def stop(self) -> None:
        """Finishes what runs and closes the gallery."""
        for gate in (self.searching, self.decoding, self.composing, self.slow, self.reading):
            gate.close()
        self.bundle.close()
        self.gallery.close()

    def search(self) -> ForegroundSearch:
        """A search over the gallery as it is now; its `gallery` does not change any more."""
        return ForegroundSearch(Pinned(self.gallery), self.bundle)  # type: ignore[arg-type]

    def _warm_up(self) -> None:
        photo = np.full((64, 64, 3), 128, np.uint8)
        row = (*self.bundle.query_inputs(photo, (16, 16, 48, 48)), np.int32(0))
        self.bundle.encode_padded([row])
        state = self.gallery.snapshot()
        for category in state.categories:
            state.category(category).is_live  # noqa: B018 opens what searches use
        self.is_ready = True
        for size in SIZES[1:]:
            self.bundle.encode_padded([row] * size)
        logging.info("%d foregrounds, ready", len(state))


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
