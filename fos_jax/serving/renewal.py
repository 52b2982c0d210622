"""Taking up a gallery that was built again in the place of the one that is searched."""

import threading
import time
from typing import TYPE_CHECKING

from absl import logging

from fos_jax.errors import InputError
from fos_jax.gallery.gallery import Gallery
from fos_jax.retrieval.opened import OpenedGallery

if TYPE_CHECKING:
    from fos_jax.serving.service import Service

_LOOK_S, _AGAIN_S = 0.5, 2.0  # the second where what was there could not be taken up


class Renewal:
    """A thread that looks at the gallery's folder.

    Attributes:
      problem: why what is there now is not taken up, in one line; "" where it is.
    """

    def __init__(self, service: "Service"):
        """Looks once it is started."""
        self._service, self.problem = service, ""
        self._retired: list[tuple[float, Gallery]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="fos-renewal", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self) -> None:
        """Ends the thread and closes the galleries that were searched before."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        for _, gallery in self._retired:
            gallery.close()

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_S if not self.problem else _AGAIN_S):
            if self._service.gallery.is_replaced:
                self._take_up()
            while self._retired and self._retired[0][0] < time.monotonic():
                self._retired.pop(0)[1].close()

    def _take_up(self) -> None:
        from fos_jax.serving.service import touched

        service = self._service
        path, before = service.settings.gallery, service.gallery
        try:
            gallery = OpenedGallery.of(Gallery.open(path), service.bundle, where=str(path)).gallery
            state = touched(gallery)
        except InputError as error:
            problem = service.hidden(str(error))
            if problem != self.problem:
                logging.error("%s; the gallery before is searched on", error)
            self.problem = problem
            return
        service.gallery, service.table, self.problem = gallery, gallery.table, ""
        # What is being answered may still read the one before.
        self._retired.append((time.monotonic() + service.settings.limits.slow_s, before))
        logging.info("%d foregrounds, built again", len(state))
