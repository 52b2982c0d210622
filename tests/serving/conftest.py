"""Galleries of discs and services over them."""

import fake_bundle
import numpy as np
import pytest
from page_driver import Page
from page_gallery import HEIGHT, WIDTH, serving
from PIL import Image
from served import png, records, running

from fos_jax.serving.settings import Limits, Settings


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


@pytest.fixture
def red():
    return png(fake_bundle.photo(250, 5))


@pytest.fixture
def photo_file(tmp_path):
    path = tmp_path / "street.png"
    path.write_bytes(png(fake_bundle.photo(250, 5)))
    return path


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("page")) as found:
        yield found


@pytest.fixture(scope="session")
def downloads_of_all(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture
def downloads(downloads_of_all):
    """Folder of what the browser saves, empty at first."""
    for path in downloads_of_all.iterdir():
        path.unlink()
    return downloads_of_all


@pytest.fixture(scope="session")
def browser(address, downloads_of_all):
    browser = Page(address, downloads=downloads_of_all)
    yield browser
    browser.close()


@pytest.fixture
def photograph(tmp_path):
    """Reddish, a little less so downwards: about 2 / 3 of its posterior is for what faces left."""
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    rgb[..., 0] = np.linspace(255, 200, HEIGHT)[:, None]
    rgb[..., 2] = 110
    path = tmp_path / "street.png"
    Image.fromarray(rgb).save(path)
    return path


@pytest.fixture
def page(browser):
    """The page as nobody has used it yet."""
    browser.resize(1280, 800)
    browser.ask("localStorage.clear()")
    browser.open()
    yield browser
    assert browser.errors(400, 404, 429, 503) == []
