"""A small world for the verification tests: cut-outs on disk, their proposals, and a server over both."""

import dataclasses
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fos_jax.patterns.proposals import Proposals, write_proposals


def picture(kind, number):
    """An arrow that points right (kind 0), up (1) or left (2), or a round cup (3); each a little different."""
    rgba = np.zeros((48, 48, 4), np.uint8)
    rows, columns = np.mgrid[:48, :48]
    if kind == 3:
        inside = (rows - 24) ** 2 + (columns - 24) ** 2 < (14 + number % 5) ** 2
    else:
        inside = (np.abs(rows - 24) < (44 - columns - number % 3) / 2) & (columns > 6)
        inside = np.rot90(inside, kind)
    rgba[inside] = (*[(200, 60, 40), (40, 120, 200), (60, 160, 70), (180, 150, 40)][kind], 255)
    rgba[inside, 1] = np.minimum(rgba[inside, 1].astype(int) + 7 * number % 50, 255)
    return rgba


@dataclasses.dataclass
class World:
    """Paths of a finished extraction and of proposals for it."""

    cutouts: Path
    proposals: Path
    truth: list[str]


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """Arrows (three directions, in groups of which one is mixed) and cups, extracted by the real pipeline."""
    from fos_jax.cutouts.cutout_set import CutoutSet
    from fos_jax.cutouts.extraction import extract
    from fos_jax.cutouts.filters import config_with

    folder = tmp_path_factory.mktemp("world")
    for kind, category in enumerate(["arrow", "arrow", "arrow", "cup"]):
        (folder / "photographs" / category).mkdir(parents=True, exist_ok=True)
        for number in range(6):
            path = folder / "photographs" / category / f"{'rulc'[kind]}{number}.png"
            Image.fromarray(picture(kind, number)).save(path)
    source = {"kind": "folder", "root": str(folder / "photographs"), "categories": None, "licence": "CC0"}
    everything = {"near_duplicate.max_distance_bits": -1, "blurred.min_sharpness": 0.0, "exposure.min_contrast": 0.0}
    everything |= {"size.min_area_px": 1, "size.min_short_side_px": 1, "size.min_long_side_px": 1}
    source |= {"skip_defects": False}
    extract(folder / "cutouts", source, config_with(everything), photographs_per_shard=10, runner="in_process")
    cutouts = CutoutSet(folder / "cutouts")
    ids = cutouts.column("id")
    truth = [Path(path).stem[0] for path in cutouts.column("source_path")]
    number = [int(Path(path).stem[1]) for path in cutouts.column("source_path")]
    # Right in two groups, up with one left among them, left, cups; the last right one is an outlier.
    wanted = {"r": lambda n: 0 if n < 3 else 1 if n < 5 else -1, "u": lambda n: 2, "l": lambda n: 2 if n == 0 else 3}
    group = np.array([4 if t == "c" else wanted[t](n) for t, n in zip(truth, number, strict=True)])
    confidence = np.linspace(1, 0.1, len(ids)).astype(np.float32)
    proposals = Proposals(tuple(ids), tuple(cutouts.column("category")), group, confidence, cutouts.fingerprint, {})
    write_proposals(folder / "proposals.parquet", proposals)
    return World(folder / "cutouts", folder / "proposals.parquet", truth)


class Server:
    """`verify_patterns` as a process of its own."""

    def __init__(self, world, store):
        self.command = [sys.executable, "-m", "fos_jax.launch.verify", "--port=0", f"--store={store}"]
        self.command += [f"--cutouts={world.cutouts}", f"--proposals={world.proposals}"]
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
        )
        self.address = self.process.stdout.readline().strip()
        assert self.address.startswith("http://127.0.0.1:"), self.process.stderr.read()

    def stop(self, *, kill=False):
        """Ends the process; returns its exit code (None where it had ended by itself) and what it wrote to stderr."""
        is_running = self.process.poll() is None
        if is_running:
            (self.process.kill if kill else self.process.terminate)()
        if self.process.stdout.closed:
            return self.process.returncode, ""
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode if is_running else None, errors

    def request(self, path, body: Any = None, *, headers=None, raw=None):
        """(status, headers, bytes); a body is posted as JSON."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} | (headers or {})
        request = urllib.request.Request(self.address.rstrip("/") + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, dict(response.headers), response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), error.read()

    def json(self, path, body=None, *, status=200, **more):
        """The JSON of an answer that must have this status."""
        code, _, text = self.request(path, body, **more)
        assert code == status, text[:300]
        return json.loads(text)


@pytest.fixture
def start_server(world, tmp_path):
    """Starts servers on one store; ends them after the test."""
    servers = []

    def start():
        servers.append(Server(world, tmp_path / "store.sqlite"))
        return servers[-1]

    yield start
    for server in servers:
        server.stop(kill=True)


@pytest.fixture(scope="module")
def shared_server(world, tmp_path_factory):
    """One server for tests that change nothing, or only what they look at."""
    server = Server(world, tmp_path_factory.mktemp("shared") / "store.sqlite")
    yield server
    server.stop(kill=True)
