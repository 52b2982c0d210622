"""Changes are found at once and drop no request; jobs go on in the background and say how far they are."""

import contextlib
import functools
import json
import sqlite3
import threading
import time

import pytest
from fake_bundle import FakeBundle, build_from, disc
from served import BOX, client_of, png, records, running

from fos_jax.errors import InputError
from fos_jax.gallery.compaction import compact
from fos_jax.gallery.store import DATABASE
from fos_jax.gallery.writer import GalleryWriter
from fos_jax.serving.settings import Settings


def test_add_replace_remove(changing, red):
    client = client_of(changing)
    before = client.gallery()["version"]
    assert client.add(png(disc((250, 0, 5), 30, 30)), "mine/1", "car", licence="CC0", tags=["new"]) == before + 1
    told = changing.get("/api/foregrounds/mine%2F1").json()
    assert (told["width_px"], told["licence"], told["tags"], told["truncated"]) == (30, "CC0", ["new"], None)
    assert client.instances(red, BOX, "car", filters={"tags": ["new"]})[0].id == "mine/1"
    with pytest.raises(InputError, match="is in the gallery already"):
        client.add(png(disc((250, 0, 5))), "mine/1", "car")
    client.replace(png(disc((5, 0, 250), 10, 10)), "mine/1", "car", truncated=["left"])
    told = changing.get("/api/foregrounds/mine/1").json()
    assert (told["width_px"], told["attributes"], told["truncated"]) == (10, {"colour": "blue"}, ["left"])
    assert client.remove("mine/1") == before + 3
    assert len(list(client.foregrounds("car"))) == 6
    for call in (
        lambda: client.remove("mine/1"),
        lambda: client.replace(png(disc((1, 2, 3))), "mine/1", "car"),
    ):
        with pytest.raises(InputError, match="there is no 'mine/1'"):
            call()
    with pytest.raises(InputError, match="no alpha channel"):
        client.add(red, "mine/2", "car")
    with pytest.raises(InputError, match="cat"):
        client.add(png(disc((1, 2, 3))), "mine/2", "cat")
    assert client.gallery()["version"] == before + 3


def test_a_new_version_is_taken_up_without_a_dropped_request(changing, red):
    client, done = client_of(changing), threading.Event()
    picture, answers = client.hand_in(red), []
    body = {"photo": picture, "box": BOX, "category": "car", "k": 50}

    def ask():
        while not done.is_set():
            answers.append(changing.post("/api/search/instances", json=body))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    path = changing.app.service.settings.gallery
    for number in range(3):
        client.add(png(disc((250, 0, 5))), f"new/{number}", "car")
        compact(path)
    deadline = time.monotonic() + 30
    while len(changing.post("/api/search/instances", json=body).json()["hits"]) < 9:
        assert time.monotonic() < deadline
    done.set()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {200}
    for answer in answers:  # each is of one version: as many hits as there were then
        found = answer.json()
        assert 6 <= len(found["hits"]) <= 9


def test_a_rebuild_in_place_is_taken_up_without_a_dropped_request(changing, red):
    client, done = client_of(changing), threading.Event()
    path, answers = changing.app.service.settings.gallery, []
    body = {"photo": client.hand_in(red), "box": BOX, "category": "car", "k": 50}

    def found():
        answers.append(changing.post("/api/search/instances", json=body))
        return len(answers[-1].json()["hits"])

    def ask():
        while not done.is_set():
            found()

    def wait_for(condition):
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    thread = threading.Thread(target=ask)
    thread.start()
    build_from(list(records())[2:], path, FakeBundle())
    wait_for(lambda: found() == 4)
    client.remove("car/2.png")
    wait_for(lambda: found() == 3)
    build_from(list(records()), path, FakeBundle("another"))
    wait_for(lambda: "another" in changing.get("/ready").json().get("gallery", ""))
    assert "fos_gallery_unusable 1.0" in changing.get("/metrics").text
    assert found() == 3  # answers come from the gallery before
    build_from(list(records()), path, FakeBundle())
    wait_for(lambda: found() == 6)
    assert changing.get("/ready").json() == {"status": "ready"}
    done.set()
    thread.join()
    assert {answer.status_code for answer in answers} == {200}


def test_a_change_while_another_process_writes_is_to_be_tried_again(changing, monkeypatch):
    monkeypatch.setattr("fos_jax.serving.changes.GalleryWriter", functools.partial(GalleryWriter, wait_s=0))
    path = changing.app.service.settings.gallery / DATABASE
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = changing.delete("/api/foregrounds/car/0.png")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"] == "the gallery/gallery.db: another process is writing to this gallery"
    assert changing.delete("/api/foregrounds/car/0.png").status_code == 200


def finished(http, job):
    deadline = time.monotonic() + 30
    while (told := http.get(f"/api/jobs/{job}").json())["state"] in ("waiting", "running"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return told


def test_a_job_of_searches(changing, red):
    client = client_of(changing)
    query = {"photo": client.hand_in(red), "box": BOX, "category": "car"}
    queries = [query, {**query, "box": [0, 0, 500, 500]}, {**query, "category": "chair"}] * 4
    answer = changing.post("/api/jobs", json={"kind": "search", "queries": queries, "k": 2})
    assert answer.status_code == 202
    job = answer.json()["job"]
    assert finished(changing, job) == {
        "job": job, "kind": "search", "state": "done", "done": 12, "total": 12, "error": None
    }  # fmt: skip
    lines = [json.loads(line) for line in changing.get(f"/api/jobs/{job}/results").text.splitlines()]
    assert [line["query"] for line in lines] == list(range(12))
    best = client.instances(red, BOX, "car", k=2)
    assert [hit["id"] for hit in lines[0]["hits"]] == [hit.id for hit in best]
    assert lines[1]["error"].startswith("box")
    assert changing.delete(f"/api/jobs/{job}").status_code == 204
    assert changing.get(f"/api/jobs/{job}").status_code == 404


def test_a_job_of_additions_is_whole_or_not_at_all(changing):
    client = client_of(changing)
    names = [client.hand_in(png(disc((250, 0, 5), 20 + n, 20))) for n in range(3)]
    added = [{"picture": name, "id": f"bulk/{n}", "category": "car"} for n, name in enumerate(names)]
    job = changing.post("/api/jobs", json={"kind": "add", "foregrounds": added}).json()["job"]
    told = finished(changing, job)
    assert told["state"] == "done", told["error"]
    assert len(list(client.foregrounds("car"))) == 9
    again = [{**added[0], "id": "bulk/9"}, added[1]]
    job = changing.post("/api/jobs", json={"kind": "add", "foregrounds": again}).json()["job"]
    told = finished(changing, job)
    assert told["state"] == "failed"
    assert told["error"] == "id: 'bulk/1' is in the gallery already"
    assert len(list(client.foregrounds("car"))) == 9


class Slow(FakeBundle):
    """Encodes when it is allowed to."""

    def __init__(self):
        super().__init__()
        self.may_go = threading.Event()
        self.may_go.set()

    def encode_queries(self, *inputs, **options):
        self.may_go.wait()
        return super().encode_queries(*inputs, **options)


def test_jobs_that_are_taken_back_or_lose_their_service(built, tmp_path, red):
    bundle, settings = Slow(), Settings(built, tmp_path / "folder", allow_changes=True)

    def release(jobs):
        while not jobs._is_closing:
            time.sleep(0.01)
        bundle.may_go.set()

    with running(settings, bundle) as http:
        query = {"photo": client_of(http).hand_in(red), "box": BOX, "category": "car"}
        bundle.may_go.clear()
        body = {"kind": "search", "queries": [query] * 20}
        first, second, third = (http.post("/api/jobs", json=body).json()["job"] for _ in range(3))
        assert http.delete(f"/api/jobs/{first}").status_code == 204
        bundle.may_go.set()
        assert finished(http, first)["state"] == "cancelled"
        assert finished(http, third)["state"] == "done"
        bundle.may_go.clear()
        other = {**query, "box": [0, 0, 30, 30]}  # is not remembered
        for body in ({"kind": "search", "queries": [other]}, {"kind": "search", "queries": [query]}):
            second, third = third, http.post("/api/jobs", json=body).json()["job"]
        threading.Thread(target=release, args=[http.app.service.jobs]).start()
    with running(settings) as http:
        for job in (second, third):
            told = http.get(f"/api/jobs/{job}").json()
            assert told["state"] == "failed"
            assert told["error"] == "the service ended before it was done: hand it in again"
