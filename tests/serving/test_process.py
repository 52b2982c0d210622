"""The program itself: several processes, an end that finishes what was begun, and a start after a kill."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import fake_bundle
import httpx
import numpy as np
import pytest
from fake_bundle import photo
from served import BOX, png, records

from fos_jax.client import Client
from fos_jax.errors import InputError
from fos_jax.serving.process import run, temporary_folder
from fos_jax.serving.settings import Limits, Settings

# Python runs this where it starts, in workers too: no network is compiled, and what is slow is so on purpose.
_STARTS = """
import sys, time
sys.path.insert(0, {tests!r})

def load(path):
    from fake_bundle import FakeBundle

    class Slow(FakeBundle):
        def encode_queries(self, *inputs, **options):
            time.sleep(1.0 if len(inputs[0]) > 8 else 0.0)
            return super().encode_queries(*inputs, **options)

    return Slow()

import fos_jax.experts.loading
fos_jax.experts.loading.load = load
"""


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    folder = tmp_path_factory.mktemp("process")
    tests = Path(fake_bundle.__file__).parent
    (folder / "sitecustomize.py").write_text(_STARTS.format(tests=str(tests)))
    fake_bundle.build_from(list(records()), folder / "gallery" / "g", fake_bundle.FakeBundle())
    (folder / "gallery" / "g" / "b").mkdir()
    return folder / "gallery" / "g"


class Program:
    """`fos serve` as a process of its own."""

    def __init__(self, gallery, folder, *flags):
        command = [sys.executable, "-m", "fos_jax", "serve", f"--gallery={gallery}", f"--folder={folder}", "--nolog"]
        self.process = subprocess.Popen(
            [*command, *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(gallery.parents[1])},
        )
        self.address = self.process.stdout.readline().strip()
        assert self.address.startswith("http://127.0.0.1:"), self.process.stderr.read()
        deadline = time.monotonic() + 200
        while not self.is_ready():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def is_ready(self):
        try:
            return httpx.get(f"{self.address}ready", timeout=30).status_code == 200
        except httpx.TransportError:
            return False

    def end(self, number):
        self.process.send_signal(number)
        code = self.process.wait(30)
        error = self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        return code, error


def test_several_processes_a_kill_and_an_end(gallery, tmp_path):
    folder = tmp_path / "folder"
    program = Program(gallery, folder, "--port=0", "--workers=2", "--allow_changes")
    address = program.address
    with Client(address) as client:
        name = client.hand_in(png(photo(250, 5)))
        added = client.add(png(np.full((12, 12, 4), 255, np.uint8)), "kept", "car")
    answers, body = set(), {"photo": name, "box": BOX, "category": "chair", "k": 2}
    for _ in range(8):  # connections of their own: both processes answer, of one gallery and of one folder of uploads
        answers.add(httpx.post(f"{address}api/search/instances", json=body, timeout=60).text.partition(",")[2])
    assert len(answers) == 1
    assert '"hits"' in answers.pop()
    assert 'route="/api/search/instances",status="200"} 8.0' in httpx.get(f"{address}metrics").text
    assert program.end(signal.SIGKILL)[0] == -signal.SIGKILL

    # The workers end too, so the port is free again; what was acknowledged is there, uploads are not.
    program = Program(gallery, folder, f"--port={httpx.URL(address).port}")
    assert list((folder / "pictures").iterdir()) == []
    with Client(program.address) as client:
        assert client.gallery()["version"] == added
        assert client.similar("kept", k=1)
        picture, found = png(np.random.default_rng(0).integers(0, 256, (400, 600, 3), np.uint8)), []
        asking = threading.Thread(
            target=lambda: found.append(client.evidence(picture, (100, 100, 300, 300), "car", max_side=400).size)
        )
        asking.start()
        while 'fos_admitted{queue="explanations"} 1.0' not in httpx.get(f"{program.address}metrics").text:
            assert asking.is_alive(), "answered before the end was asked for"
        code, error = program.end(signal.SIGTERM)
        asking.join()
    assert found == [(400, 267)]
    assert code == 0, error
    assert "Traceback" not in error
    assert not (folder / "pictures").exists()


def test_what_cannot_be_served_is_told_before_the_address(gallery, tmp_path, monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # the tests' own stay
    for change, words in (
        ({"gallery": tmp_path}, "no gallery there"),
        ({"workers": 2, "gallery": tmp_path}, "no gallery there"),
        ({"workers": 2, "limits": Limits(rate="often")}, "rate: got 'often'"),
        ({"workers": 2, "examples": tmp_path}, "examples.json: cannot be read"),
        ({"workers": 2, "keys": tmp_path / "none"}, "none: cannot be read"),
    ):
        settings, told = Settings(**{"gallery": gallery, "folder": tmp_path / "folder", **change}), []
        with pytest.raises(InputError, match=words):
            run(settings, host="127.0.0.1", port=0, ready=told.append, has_log=False)
        assert told == []
    with temporary_folder(tmp_path / "folder"), pytest.raises(InputError, match="another service uses"):
        run(Settings(gallery, tmp_path / "folder"), host="127.0.0.1", port=0, ready=print, has_log=False)
