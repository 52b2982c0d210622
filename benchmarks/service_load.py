"""The service under load: capacity by number of workers, twice that capacity, and a kill.

  python benchmarks/service_load.py --gallery=runs/demo/gallery --workers=1,2 --seconds=120

Starts `fos serve` on the loopback address over a copy of the gallery and asks it with Locust, which shares the
machine's cores with it (`locust_cpu`: how many it kept busy). A request is a search for patterns with a rectangle that
was not asked for before, in one of eight made-up photographs; one in twenty uploads another photograph instead.

- capacity: per number of workers and of users who ask without a pause, answers per second and their latencies;
- overload: with the first number of workers, requests of many users at twice its best rate, at random moments:
  statuses, latencies of those that were accepted against those of one user alone, memory of all server processes;
- kill: changes through the API until the server is killed (-9) and started again: seconds until it is ready, and
  acknowledged changes that are missing.

Prints one JSON line each.
"""

import contextlib
import functools
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from reporting import Report, machine, make_parser

UPLOAD_SHARE = 0.05
SIDES = (1280, 960)  # of photographs, pixels
REQUESTS_PER_USER_S = 0.5  # of the open loop: so many users that waiting for answers hardly slows the rate


class Server:
    """`fos serve` in a process group of its own."""

    def __init__(self, gallery: Path, workers: int, *flags: str):
        self.command = [sys.executable, "-m", "fos_jax", "serve", f"--gallery={gallery}", "--port=0"]
        self.command += [f"--workers={workers}", *flags]
        started = time.monotonic()
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip().rstrip("/")
        assert self.address.startswith("http://"), self.command
        while time.monotonic() < started + 120:
            with contextlib.suppress(OSError):
                if request(self.address + "/ready")[0] == 200:
                    break
            time.sleep(0.02)
        self.ready_s = round(time.monotonic() - started, 2)

    def rss_mb(self) -> float:
        """Resident memory of all its processes; pages that they share count for each."""
        import psutil

        total, parent = 0, psutil.Process(self.process.pid)
        for process in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        return round(total / 2**20, 1)

    def stop(self, *, kill: bool = False) -> None:
        with contextlib.suppress(ProcessLookupError):
            if kill:
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.terminate()
        self.process.wait(60)


def request(url: str, body: Any = None, *, method: str | None = None, files: dict[str, Any] | None = None) -> Any:
    """(status, JSON or bytes); a body is sent as JSON, files as a form."""
    headers, data = {}, None
    if files is not None:
        data, headers["Content-Type"] = form(files)
    elif body is not None:
        data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
    asked = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            status, kind, text = answer.status, answer.headers["content-type"], answer.read()
    except urllib.error.HTTPError as error:
        with error:
            status, kind, text = error.code, error.headers["content-type"], error.read()
    return status, json.loads(text) if kind == "application/json" else text


def form(fields: dict[str, Any]) -> tuple[bytes, str]:
    """A multipart form and its type; bytes become files."""
    boundary, parts = "fos-benchmark-boundary", []
    for name, value in fields.items():
        is_file = isinstance(value, bytes)
        more = '; filename="picture"\r\nContent-Type: application/octet-stream' if is_file else ""
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
        parts += [head.encode(), value if is_file else str(value).encode(), b"\r\n"]
    return b"".join([*parts, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"


class Queries:
    """Made-up photographs, uploaded, and searches in them that never repeat."""

    def __init__(self, address: str, uploads: int = 8):
        self.random = random.Random(0)
        self.categories = [entry["name"] for entry in request(address + "/api/gallery")[1]["categories"]]
        self.pictures = [photograph(number) for number in range(8)]
        self.ids = []
        for number in range(uploads):  # so many that as many decoded ones are held as ever will be
            data = self.pictures[number] if number < 8 else self.upload()
            status, answer = request(address + "/api/pictures", files={"file": data})
            assert status == 200, answer
            self.ids[:8] = [*self.ids, answer["picture"]][:8]

    def search(self) -> dict[str, Any]:
        """The body of a search for patterns."""
        width, height = (self.random.randint(side // 8, side // 2) for side in SIDES)
        x, y = (self.random.randint(0, side - length) for side, length in zip(SIDES, (width, height), strict=True))
        box, category = [x, y, x + width, y + height], self.random.choice(self.categories)
        return {"photo": self.random.choice(self.ids), "box": box, "category": category}

    def upload(self) -> bytes:
        """A file that was not uploaded before: what stands behind the end of a JPEG is not part of the picture."""
        return self.random.choice(self.pictures) + self.random.randbytes(8)


def photograph(number: int) -> bytes:
    """A JPEG of soft shapes."""
    from PIL import Image

    rough = np.random.default_rng(number).integers(0, 256, (9, 12, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(rough).resize(SIDES, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


class Answers:
    """Statuses and milliseconds of what Locust asked."""

    def __init__(self) -> None:
        self.statuses, self.without_retry = Counter[str](), 0
        self.took_ms, self.refused_ms = list[float](), list[float]()
        self.locust_cpu = 0.0  # cores that it kept busy

    def listen(self, name: str, response_time: float, response: Any, **_: Any) -> None:
        status = getattr(response, "status_code", 0) or 0
        self.statuses[str(status or "no answer")] += 1
        if status == 200 and name == "search":
            self.took_ms.append(response_time)
        if status == 429:
            self.refused_ms.append(response_time)
        if status in (429, 503) and not response.headers.get("retry-after"):
            self.without_retry += 1

    def figures(self, seconds: float) -> dict[str, Any]:
        p50, p99 = np.percentile(self.took_ms, (50, 99)) if self.took_ms else (np.nan, np.nan)
        answered = sum(n for status, n in self.statuses.items() if status[0] == "2")
        found = {"per_s": round(answered / seconds, 1), "p50_ms": round(float(p50), 1), "p99_ms": round(float(p99), 1)}
        return found | {"statuses": dict(sorted(self.statuses.items()))}


def ask(address: str, queries: Queries, seconds: float, users: int, *, per_s: float | None = None) -> Answers:
    """Asks for some seconds: without a pause, or at random moments (Poisson) of a given mean rate."""
    import gevent
    from locust import FastHttpUser, task
    from locust.env import Environment

    class User(FastHttpUser):
        host, network_timeout, max_retries = address, 30.0, 0
        if per_s is not None:
            wait_time = functools.partial(queries.random.expovariate, per_s / users)

            def on_start(self) -> None:
                self.wait()

        @task
        def search(self) -> None:
            if queries.random.random() < UPLOAD_SHARE:
                data, kind = form({"file": queries.upload()})
                headers = {"Content-Type": kind}
                self.client.post("/api/pictures", data=data, headers=headers, name="upload")
            else:
                self.client.post("/api/search/patterns", json=queries.search(), name="search")

    environment, answers = Environment(user_classes=[User]), Answers()
    environment.events.request.add_listener(answers.listen)
    runner, before_s = environment.create_local_runner(), time.process_time()
    runner.start(users, spawn_rate=min(users, 100))
    gevent.sleep(seconds)
    runner.quit()
    answers.locust_cpu = round((time.process_time() - before_s) / seconds, 2)
    return answers


def capacity(
    gallery: Path, workers: int, users: Sequence[int], seconds: float, *flags: str
) -> tuple[list[dict[str, Any]], float]:
    """Figures per number of users, and the most answers per second."""
    server, lines = Server(gallery, workers, *flags), []
    try:
        queries = Queries(server.address)
        ask(server.address, queries, min(5.0, seconds), max(users))
        for number in users:
            figures = ask(server.address, queries, seconds, number).figures(seconds)
            lines.append({"workers": workers, "users": number, **figures})
    finally:
        server.stop()
    return lines, max(line["per_s"] for line in lines)


@contextlib.contextmanager
def memory_of(server: Server) -> Iterator[list[float]]:
    """Megabytes, each second."""
    found, over = [server.rss_mb()], threading.Event()

    def watch() -> None:
        while not over.wait(1):
            found.append(server.rss_mb())

    thread = threading.Thread(target=watch)
    thread.start()
    yield found
    over.set()
    thread.join()


def overload(gallery: Path, workers: int, per_s: float, seconds: float, *flags: str) -> dict[str, Any]:
    """At a given rate of requests, after one user alone on the same server."""
    server = Server(gallery, workers, *flags)
    try:
        queries = Queries(server.address, uploads=300 if seconds > 10 else 8)
        warm_s = min(10.0, seconds)
        ask(server.address, queries, warm_s / 2, 4)
        alone = ask(server.address, queries, warm_s, 1).figures(warm_s)
        before = server.rss_mb()
        users = max(1, round(per_s / REQUESTS_PER_USER_S))
        with memory_of(server) as memory:
            answers = ask(server.address, queries, seconds, users, per_s=per_s)
        after_s = min(10.0, seconds)
        time.sleep(after_s)
        figures = answers.figures(seconds)
        refused_p50, refused_p99 = np.percentile(answers.refused_ms or [np.nan], (50, 99)).round(1).tolist()
        half = len(memory) // 2
        return {
            "workers": workers,
            "offered_per_s": round(answers.statuses.total() / seconds, 1),
            "accepted_per_s": figures.pop("per_s"),
            **figures,
            "alone_p50_ms": alone["p50_ms"],
            "alone_p99_ms": alone["p99_ms"],
            "p99_ratio": round(figures["p99_ms"] / alone["p99_ms"], 2),
            "refused_p50_ms": refused_p50,
            "refused_p99_ms": refused_p99,
            "locust_cpu": answers.locust_cpu,
            "refusals_without_retry_after": answers.without_retry,
            "rss_mb": {
                "before": before,
                "first_half": round(float(np.median(memory[:half])), 1) if half else None,
                "second_half": round(float(np.median(memory[half:])), 1),
                "most": max(memory),
                "after": server.rss_mb(),
            },
        }
    finally:
        server.stop()


def cutout(number: int) -> bytes:
    """A small cut-out, PNG."""
    from PIL import Image

    rgba = np.zeros((64, 96, 4), np.uint8)
    rgba[8:56, 8:88] = (number * 37 % 256, number * 91 % 256, 128, 255)
    buffer = io.BytesIO()
    Image.fromarray(rgba).save(buffer, "PNG")
    return buffer.getvalue()


def kills(gallery: Path, workers: int, times: int) -> dict[str, Any]:
    """Adds and removes foregrounds until the server is killed; what was acknowledged must be there afterwards."""
    server = Server(gallery, workers, "--allow_changes")
    ready, acknowledged, lost, changes = list[float](), dict[str, bool](), list[str](), random.Random(0)
    category = request(server.address + "/api/gallery")[1]["categories"][0]["name"]
    number = 0
    for _ in range(times):
        timer = threading.Timer(changes.uniform(1.0, 3.0), server.stop, kwargs={"kill": True})
        timer.start()
        with contextlib.suppress(OSError):
            while True:
                number += 1
                name = f"kill{number}"
                fields = {"file": cutout(number), "metadata": json.dumps({"id": name, "category": category})}
                status, answer = request(server.address + "/api/foregrounds", files=fields)
                assert status == 201, answer
                acknowledged[name] = True
                if number % 3 == 0:
                    gone = changes.choice([key for key, is_there in acknowledged.items() if is_there])
                    del acknowledged[gone]  # either way is right until it is answered
                    status, answer = request(f"{server.address}/api/foregrounds/{gone}", method="DELETE")
                    assert status in (200, 204), answer
                    acknowledged[gone] = False
        timer.join()
        server = Server(gallery, workers, "--allow_changes")
        ready.append(server.ready_s)
        for name, is_there in acknowledged.items():
            status, _ = request(f"{server.address}/api/foregrounds/{name}")
            if status != (200 if is_there else 404):
                lost.append(name)
    server.stop()
    return {"kills": times, "acknowledged": len(acknowledged), "lost": len(set(lost)), "ready_s": ready}


def main() -> None:
    parser = make_parser(__doc__, "output")
    parser.add_argument("--gallery", default="runs/demo/gallery")
    parser.add_argument("--workers", default="1,2", help="worker processes; overload and kill with the first number")
    parser.add_argument("--users", default="1,2,4", help="numbers of users who ask without a pause")
    parser.add_argument("--capacity_seconds", type=float, default=10, help="per number of users")
    parser.add_argument("--seconds", type=float, default=120, help="of the overload")
    parser.add_argument("--factor", type=float, default=2, help="of the capacity")
    parser.add_argument("--kills", type=int, default=3)
    args, report = parser.parse_args(), Report("service_load")
    if report.lacks(args.gallery):
        return
    workers, users = ([int(text) for text in value.split(",")] for value in (args.workers, args.users))
    with tempfile.TemporaryDirectory() as folder:
        gallery = Path(folder) / "gallery"
        shutil.copytree(args.gallery, gallery)
        best = {}
        for number in workers:
            lines, best[number] = capacity(gallery, number, users, args.capacity_seconds)
            for line in lines:
                report({"part": "capacity", **line, **machine()})
        rate = args.factor * best[workers[0]]
        report({"part": "overload", **overload(gallery, workers[0], rate, args.seconds), **machine()})
        report({"part": "kill", **kills(gallery, workers[0], args.kills), **machine()})
    report.write(args.output)


if __name__ == "__main__":
    main()
