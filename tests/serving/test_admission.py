"""Who may do what, and what is refused because there is too much of it."""

import asyncio
import json
import threading
import time

import pytest
from fake_bundle import FakeBundle, photo
from served import BOX, client_of, png, running
from starlette.exceptions import HTTPException

from fos_jax.client import ServiceError
from fos_jax.errors import InputError
from fos_jax.serving.gates import Gate
from fos_jax.serving.keys import Keys, add_key, read_keys, remove_key
from fos_jax.serving.pictures import Pictures
from fos_jax.serving.settings import Limits, Settings


def test_keys_and_roles(built, tmp_path):
    path = tmp_path / "keys.json"
    reader, editor = add_key(path, "rita", "reader"), add_key(path, "ed", "editor")
    stored = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert not any(key.partition(".")[2] in stored for key in (reader, editor))
    with running(Settings(built, tmp_path / "folder", keys=path)) as http:
        statuses = [
            http.get(where, headers={"X-API-Key": key} if key else {}).status_code
            for where in ("/api/gallery", "/metrics")
            for key in (None, "rita.wrong", "nobody.x", reader, editor)
        ]
        assert statuses == [401, 401, 401, 200, 200] * 2
        assert http.get("/health").status_code == 200
        with pytest.raises(ServiceError, match="needs the key of an editor"):
            client_of(http, key=reader).remove("none")
        with pytest.raises(InputError, match="there is no 'none'"):
            client_of(http, key=editor).remove("none")
        assert http.post("/api/session", json={"key": "rita.wrong"}).status_code == 401
        answer = http.post("/api/session", json={"key": reader})
        assert answer.json() == {"role": "reader"}
        assert {"HttpOnly", "SameSite=strict"} <= set(answer.headers["set-cookie"].split("; "))
        assert http.get("/api/foregrounds/car/0.png/thumbnail").status_code == 200
        assert http.delete("/api/session").status_code == 204
        assert http.get("/api/foregrounds/car/0.png/thumbnail").status_code == 401
        remove_key(path, "rita")
        time.sleep(1.1)  # keys are looked for once a second
        assert http.get("/api/gallery", headers={"X-API-Key": reader}).status_code == 401


def test_files_of_keys(tmp_path):
    path = tmp_path / "keys.json"
    key = add_key(path, "ann", "editor")
    assert Keys(path).role(key) == "editor"
    assert Keys(path).role(f"{key}x") is None
    for name, role, words in (("ann", "reader", "already"), ("a b", "reader", "letters"), ("bob", "boss", "role")):
        with pytest.raises(InputError, match=words):
            add_key(path, name, role)
    with pytest.raises(InputError, match="no key 'bob'"):
        remove_key(path, "bob")
    for text in ("", "[]", '{"keys": [{}]}', json.dumps({"keys": [{**read_keys(path)[0], "role": "boss"}]})):
        path.write_text(text)
        with pytest.raises(InputError, match="not a file of keys"):
            Keys(path)


def test_rates(built, tmp_path):
    with running(Settings(built, tmp_path / "folder", limits=Limits(rate="3/minute"))) as http:
        answers = [http.get("/api/gallery") for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
        assert http.get("/api/foregrounds/car/0.png/thumbnail").status_code == 200  # pages show many


def test_a_gate_lets_so_many_wait_and_refuses_the_rest():
    async def ask():
        release = threading.Event()
        gate = Gate("search", working=1, waiting=1, limit_s=5)
        calls = [asyncio.create_task(gate.run(release.wait)) for _ in range(3)]
        await asyncio.sleep(0.05)
        with pytest.raises(HTTPException) as error:
            await calls[2]
        assert error.value.status_code == 429
        assert int(error.value.headers["Retry-After"]) >= 1
        release.set()
        assert await asyncio.gather(*calls[:2]) == [True, True]
        await asyncio.sleep(0)
        assert gate.admitted == 0
        gate.close()

    asyncio.run(ask())


def test_while_most_calls_are_refused_none_waits():
    async def ask():
        release = threading.Event()
        gate = Gate("search", working=1, waiting=1, limit_s=5, calm=0.25)
        calls = [asyncio.create_task(gate.run(release.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        assert gate.admitted == 2  # one waits
        for _ in range(20):
            with pytest.raises(HTTPException):
                gate.check()
        release.set()
        assert await asyncio.gather(*calls) == [True, True]
        await asyncio.sleep(0)
        release.clear()
        running = asyncio.create_task(gate.run(release.wait))
        await asyncio.sleep(0)
        with pytest.raises(HTTPException, match="too many requests"):
            gate.check()
        release.set()
        assert await running is True
        await asyncio.sleep(0)
        for _ in range(50):  # the load is over
            gate.check()
        calls = [asyncio.create_task(gate.run(release.wait)) for _ in range(2)]
        assert await asyncio.gather(*calls) == [True, True]
        gate.close()

    asyncio.run(ask())


def test_a_call_that_takes_too_long_is_told_and_keeps_its_place():
    async def ask():
        release = threading.Event()
        gate = Gate("search", working=1, waiting=0, limit_s=0.05)
        with pytest.raises(HTTPException, match="longer than") as error:
            await gate.run(release.wait)
        assert error.value.status_code == 503
        with pytest.raises(HTTPException) as error:  # its thread is still at work
            await gate.run(release.wait)
        assert error.value.status_code == 429
        release.set()
        await asyncio.sleep(0.05)
        assert await gate.run(release.wait) is True
        gate.close()

    asyncio.run(ask())


def test_bodies(built, tmp_path, red):
    limits = Limits(upload_bytes=2_000, json_bytes=1_000, pixels=3_000)
    with running(Settings(built, tmp_path / "folder", limits=limits)) as http:
        assert http.post("/api/pictures", files={"file": red}).status_code == 200

        def parts():
            yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
            for _ in range(1_000):
                yield bytes(1_000)

        kind = {"content-type": "multipart/form-data; boundary=b"}
        answer = http.post("/api/pictures", content=parts(), headers=kind)  # of unknown length
        assert (answer.status_code, answer.json()["error"]) == (413, "body: more than 2000 bytes")
        assert http.post("/api/score", content=b" " * 1_001).status_code == 413
        answer = http.post("/api/pictures", files={"file": png(photo(1, 2, 60, 51))})
        assert answer.status_code == 400
        assert "60 x 51 px, expected at most 3,000 pixels" in answer.json()["error"]


def test_pictures_make_room_for_others(tmp_path):
    pictures = [png(photo(red, 5)) for red in range(6)]
    room = 3 * len(pictures[0])
    kept = Pictures(tmp_path, max_pixels=10**6, stored_bytes=room, stored_s=60, decoded_bytes=2 * 60 * 40 * 3)
    names = []
    for data in pictures:
        names.append(kept.add(data)[0])
        kept.pixels(names[0])  # is used, so it stays
        time.sleep(0.01)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= room
    assert kept.photo(names[0]).shape == (40, 60, 3)
    with pytest.raises(HTTPException, match="upload it again"):
        kept.pixels(names[1])


def test_other_hosts_and_sites(http, red):
    for headers in (
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
    ):
        answer = http.get("/api/gallery", headers=headers)
        assert answer.status_code == 403, headers
        assert answer.json()["error"].startswith(("host:", "origin:", "sec-fetch-site:"))
    linked = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert http.get("/health", headers=linked).status_code == 200
    answer = http.get("/health", headers={"Origin": str(http.base_url).rstrip("/")})
    assert answer.status_code == 200
    assert "blob:" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_no_docs_of_others_and_no_answer_that_is_never_sent(http):
    assert http.get("/docs").status_code == http.get("/redoc").status_code == 404
    description = http.get("/openapi.json").json()
    operations = [operation for path in description["paths"].values() for operation in path.values()]
    assert all(
        "422" not in op["responses"] and {"400", "404", "413", "429", "503"} <= set(op["responses"])
        for op in operations
    )
    assert len({operation["operationId"] for operation in operations}) == len(operations)


def test_metrics_and_logs_name_no_key_and_no_query(built, tmp_path, capsys):
    from fos_jax.serving.observing import log_requests

    log_requests(is_on=True)
    try:
        with running(Settings(built, tmp_path / "folder"), FakeBundle()) as http:
            http.get("/api/foregrounds?category=car&limit=1", headers={"X-API-Key": "name.secret"})
            http.get("/nowhere")
            text = http.get("/metrics").text
    finally:
        log_requests(is_on=False)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    line = next(line for line in lines if line["path"] == "/api/foregrounds")
    assert line["status"] == 200
    assert line["client"] == "127.0.0.1"
    assert not any("secret" in json.dumps(line) or "limit=1" in json.dumps(line) for line in lines)
    assert 'fos_request_seconds_count{method="GET",route="/api/foregrounds",status="200"} 1.0' in text
    assert 'route="other"' in text  # whatever is asked for makes no new series
    assert "fos_foregrounds 12.0" in text


def test_defects_are_told_by_id_alone(built, tmp_path, red, monkeypatch):
    with running(Settings(built, tmp_path / "folder")) as http:
        body = {"photo": client_of(http).hand_in(red), "box": BOX, "category": "car"}

        def fail():
            raise RuntimeError("a secret of the inside")

        monkeypatch.setattr(http.app.service, "search", fail)
        answer = http.post("/api/search/instances", json=body)
    assert answer.status_code == 500
    assert answer.json() == {
        "error": "internal error: the log has it under this request's id",
        "request": answer.headers["x-request-id"],
    }
    assert "nosniff" in answer.headers["x-content-type-options"]
