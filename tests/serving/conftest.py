"""Galleries of discs and services over them."""

import fake_bundle
import pytest
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
