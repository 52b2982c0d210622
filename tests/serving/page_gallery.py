"""A service over a gallery of discs for the page's tests: what is reddish faces left, what is bluish right."""

import contextlib
import dataclasses
import time

import pytest
from fake_bundle import FakeBundle, build_from, disc
from page_driver import CHROMIUM, DRIVER
from served import running

from fos_jax.gallery.sources import CutoutRecord
from fos_jax.pattern_table import Pattern, PatternTable
from fos_jax.serving.settings import Limits, Settings

needs_chromium = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no Chromium with chromedriver (Debian: apt install chromium chromium-driver)"
)
WIDTH, HEIGHT = 640, 420  # of the photograph


def wait(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


WAYS = ("left", "right")


def table():
    """Cars and chairs that face left (reddish) or right (bluish)."""
    patterns = [
        Pattern(2 * c + i, name, {"yaw": way}, f"{name}, facing {way}", 2 * c + 1 - i, {"train": 1})
        for c, name in enumerate(("car", "chair"))
        for i, way in enumerate(WAYS)
    ]
    return PatternTable(("car", "chair"), {name: {"yaw": WAYS} for name in ("car", "chair")}, tuple(patterns))


def records():
    for category in ("car", "chair"):
        for i in range(12):
            way, number = WAYS[i % 2], i // 2
            colour = (250, 20 * number, 10) if way == "left" else (10, 20 * number, 250)
            name = f"{way}-{number}" if category == "car" else f"{category}-{i}"
            licence = ("CC0", "CC BY")[number % 2]
            yield CutoutRecord(name, category, disc(colour, 90, 60 + 4 * number), name, licence)


@contextlib.contextmanager
def serving(folder, **settings):
    """The address of a service in a thread, which takes photographs of up to 2 MB and 4 megapixels."""
    bundle = FakeBundle(table=table())
    build_from(list(records()), folder / "gallery", bundle)
    limits = dataclasses.replace(Limits(), upload_bytes=2_000_000, pixels=4_000_000)
    with running(Settings(folder / "gallery", folder / "kept", limits=limits, **settings), bundle) as http:
        yield f"{http.base_url}"


def results(page):
    page.until("document.querySelector('#results .hit') && !document.querySelector('[aria-busy]')")


def open_and_draw(page, photograph, start=(0.3, 0.4), end=(0.6, 0.8)):
    page.open_file(photograph)
    page.until("!document.querySelector('#sheet').hidden")
    page.drag(start, end)
    results(page)


def downloaded(folder, name):
    wait(lambda: (folder / name).exists() and not list(folder.glob("*.crdownload")))
    return folder / name
