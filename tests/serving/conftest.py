"""A service in process over a gallery of discs, whose answers tests know by heart."""

import contextlib
import io
import threading
import time

import fake_bundle
import httpx
import numpy as np
import pytest
import uvicorn
from PIL import Image

from fos_jax.client import Client
from fos_jax.gallery.sources import CutoutRecord
from fos_jax.serving.app import ServiceApp
from fos_jax.serving.settings import Limits, Settings
from fos_jax.web.server import address_of, configure, listen

BOX = (10, 10, 40, 30)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


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
        with Http(base_url=address_of(listener), timeout=30) as http:
            http.app, http.clients = app, []
            while http.get("/ready").status_code != 200:
                time.sleep(0.01)
            yield http
            for client in http.clients:
                client.close()
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """A gallery that no test changes."""
    path = tmp_path_factory.mktemp("serving") / "gallery"
    fake_bundle.build_from(list(records()), path, fake_bundle.FakeBundle())
    return path


@pytest.fixture(scope="module")
def http(built, tmp_path_factory):
    """A service that changes nothing."""
    folder = tmp_path_factory.mktemp("folder")
    with running(Settings(built, folder)) as client:
        yield client


@pytest.fixture
def changing(tmp_path):
    """A service that may change its gallery."""
    fake_bundle.build_from(list(records()), tmp_path / "gallery", fake_bundle.FakeBundle())
    limits = Limits(queries=3, waiting=8)
    settings = Settings(tmp_path / "gallery", tmp_path / "folder", allow_changes=True, limits=limits)
    with running(settings) as client:
        yield client


def client_of(http, **options):
    """The typed client of a service."""
    http.clients.append(Client(str(http.base_url), **options))
    return http.clients[-1]


@pytest.fixture
def red():
    return png(fake_bundle.photo(250, 5))


@pytest.fixture
def photo_file(tmp_path):
    path = tmp_path / "street.png"
    path.write_bytes(png(fake_bundle.photo(250, 5)))
    return path


def pixels(picture):
    return np.asarray(picture)
