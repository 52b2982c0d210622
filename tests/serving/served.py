"""A service in process over a gallery of discs, whose answers tests know by heart."""

import contextlib
import io
import threading
import time

import fake_bundle
import httpx
import numpy as np
import uvicorn
from PIL import Image

from fos_jax.client import Client
from fos_jax.gallery.sources import CutoutRecord
from fos_jax.serving.app import ServiceApp
from fos_jax.web.server import address_of, configure, listen

BOX = (10, 10, 40, 30)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def pixels(picture):
    return np.asarray(picture)


def records():
    """Cars from red to blue, and chairs; ids with slashes, as folders of cut-outs give them."""
    for category in ("car", "chair"):
        for number in range(6):
            rgba = fake_bundle.disc((250 - 48 * number, 0, 5 + 48 * number), 20 + number, 16)
            licence, tags = ("CC0", "CC BY")[number % 2], ["round"] if number < 3 else []
            yield CutoutRecord(f"{category}/{number}.png", category, rgba, f"p{number}", licence, tags=tags)


class Http(httpx.Client):
    """Requests to a service, whose application and typed clients stand beside them."""

    app: ServiceApp
    clients: list[Client]


@contextlib.contextmanager
def running(settings, bundle=None):
    """A service that is ready, on a port of its own."""
    app = ServiceApp(settings, bundle or fake_bundle.FakeBundle())
    with listen("127.0.0.1", 0) as listener:
        server = uvicorn.Server(configure(app, lifespan="on"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            with Http(base_url=address_of(listener), timeout=30) as http:
                http.app, http.clients = app, []
                deadline = time.monotonic() + 60
                while http.get("/ready").status_code != 200:
                    assert time.monotonic() < deadline, "not ready"
                    time.sleep(0.01)
                yield http
                for client in http.clients:
                    client.close()
        finally:
            server.should_exit = True
            thread.join(30)
        assert not thread.is_alive()


def client_of(http, **options):
    """The typed client of a service."""
    http.clients.append(Client(str(http.base_url), **options))
    return http.clients[-1]
