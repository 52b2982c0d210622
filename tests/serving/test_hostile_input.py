"""Hostile input to the service: no answer is a 500, none is missing, each refusal is one line of JSON."""

import contextlib
import json
import socket
import time

import fake_bundle
import hostile
import hypothesis
import numpy as np
import pytest
import schemathesis
from hostile import Served, checked, form, multipart
from hypothesis import strategies as st
from schemathesis import GenerationMode
from served import running

from fos_jax.serving.settings import Limits, Settings
from fos_jax.web import server as server_module

LIMITS = Limits(upload_bytes=2_000_000, json_bytes=100_000, pixels=1_000_000, body_s=0.5, request_s=10, rate="")
EXAMPLES = hypothesis.settings(
    max_examples=40, phases=[hypothesis.Phase.generate], suppress_health_check=list(hypothesis.HealthCheck)
)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    """Six cars and three chairs."""
    from fos_jax.gallery.sources import CutoutRecord

    folder = tmp_path_factory.mktemp("served")
    rng = np.random.default_rng(0)
    records = []
    for category, count in (("car", 6), ("chair", 3)):
        for number in range(count):
            disc = fake_bundle.disc(tuple(rng.integers(0, 256, 3)), 20 + number, 16)
            records.append(CutoutRecord(f"{category}{number}", category, disc, "photograph", "CC0"))
    fake_bundle.build_from(records, folder / "gallery", fake_bundle.FakeBundle())
    return folder / "gallery"


@pytest.fixture(scope="module")
def served(gallery, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uploads")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server_module, "HEADERS_S", 0.5)
        with running(Settings(gallery=gallery, folder=folder, allow_changes=True, limits=LIMITS)) as http:
            yield Served(http.base_url.port)


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_whatever_openapi_allows_or_forbids(served, mode):
    """Bodies and parameters made from the description, sound or broken, with things that exist where they may be."""
    status, description, _ = served.ask("GET", "/openapi.json")
    assert status == 200, description
    known = {"photo": served.photo, "cutout": served.cutout, "foreground": "car1", "category": "car"}

    def check(case):
        if isinstance(case.body, dict) and mode == GenerationMode.POSITIVE:
            case.body |= {name: value for name, value in known.items() if name in case.body}
        response = case.call(base_url=f"http://127.0.0.1:{served.port}", timeout=30)
        assert response.status_code < 500, (case.as_curl_command(), response.text[:500])
        if response.status_code >= 400:
            assert response.json()["error"]

    operations = list(schemathesis.openapi.from_dict(description).get_all_operations())
    assert len(operations) >= 15
    for operation in operations:
        strategy = operation.ok().as_strategy(generation_mode=mode)
        with contextlib.suppress(hypothesis.errors.Unsatisfiable):  # nothing to break: no parameters
            hypothesis.settings(EXAMPLES, max_examples=3)(hypothesis.given(strategy)(check))()


BOMBS = hostile.bombs()


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_before_they_unpack(served, name):
    started = time.monotonic()
    status, _ = served.upload(BOMBS[name])
    assert time.monotonic() - started < 5  # unpacking would take many times that, and gigabytes
    assert status == (200 if "more pixels than its header" in name else 400)


@pytest.mark.parametrize("name", hostile.polyglots())
def test_files_that_are_no_pictures(served, name):
    data = hostile.polyglots()[name]
    for filename, kind in (("picture.png", "image/png"), ("page.html", "text/html"), ("x.svg", "image/svg+xml")):
        assert served.upload(data, filename=filename, kind=kind)[0] == 400


def test_names_of_files_lead_nowhere(served, tmp_path_factory):
    before = {path.name for path in tmp_path_factory.getbasetemp().parent.iterdir()}
    for number, name in enumerate([*hostile.TRAVERSAL, "", "a\x00b", "\x7f", "\ud800", 'a"b', "x\ty"]):
        data = hostile.encoded("PNG", 8 + number, 8)
        status, answer = served.upload(data, filename=name)
        assert status in (200, 400), name
        if status == 200:
            assert answer["width"] == 8 + number
    assert {path.name for path in tmp_path_factory.getbasetemp().parent.iterdir()} == before


@pytest.mark.parametrize("name", hostile.TRAVERSAL)
@pytest.mark.parametrize(
    "path",
    ["/{}", "/page/{}", "/page/shared/{}", "/api/examples/{}", "/api/foregrounds/{}", "/api/foregrounds/{}/cutout"],
)
def test_paths_lead_nowhere(served, path, name):
    status, answer = checked(served.ask("GET", path.format(name)), path)
    assert status in (400, 404, 405), answer


PATHS = {
    "/api/search/instances": {"photo": "{photo}", "box": [1, 1, 30, 30], "category": "car", "k": 3, "pattern": 0},
    "/api/search/patterns": {"photo": "{photo}", "box": [1, 1, 30, 30], "category": "car", "k": 1},
    "/api/search/overview": {"photo": "{photo}", "box": [1, 1, 30, 30], "category": "car", "total": 3},
    "/api/score": {"photo": "{photo}", "box": [1, 1, 30, 30], "category": "car", "cutout": "{cutout}"},
    "/api/place": {"photo": "{photo}", "box": [1, 1, 30, 30], "foreground": "car1", "mirrored": False},
    "/api/composite": {"photo": "{photo}", "layers": [{"foreground": "car1", "box": [1, 1, 30, 30]}]},
    "/api/reverse": {"foreground": "car1", "queries": [{"photo": "{photo}", "box": [1, 1, 30, 30]}]},
    "/api/explain": {"photo": "{photo}", "box": [1, 1, 30, 30], "category": "car"},
    "/api/evidence": {"photo": "{photo}", "box": [1, 1, 30, 30], "category": "car"},
}


def sound(served, path):
    """JSON of a request that is answered."""
    text = json.dumps(PATHS[path])
    return text.replace("{photo}", served.photo).replace("{cutout}", served.cutout)


@pytest.mark.parametrize("path", PATHS)
def test_rectangles_that_are_none(served, path):
    text = sound(served, path)
    assert served.post(path, text)[0] == 200
    for box in hostile.boxes():
        status, answer = served.post(path, text.replace("[1, 1, 30, 30]", box))
        if path != "/api/composite":  # a layer may leave the photograph
            assert status == 400, (box, answer)


@pytest.mark.parametrize("path", PATHS)
def test_fields_of_other_types(served, path):
    text = sound(served, path)
    for name, value in json.loads(text).items():
        for other in hostile.values():
            served.post(path, text.replace(f'"{name}": {json.dumps(value)}', f'"{name}": {other}'))
    for more in ('"weights": {"appearance": NaN}', '"weights": {"appearance": 1e999}', '"ranking": "random"'):
        assert served.post(path, "{" + more + ", " + text[1:])[0] == 400


@pytest.mark.parametrize("other", hostile.values())
def test_filters_of_other_types(served, other):
    text = sound(served, "/api/search/instances")
    names = ("min_side_px", "max_upscale", "licences", "aspect_tolerance", "exclude", "only", "tags", "sources")
    for name in (*names, "added_since_s", "any_truncation", "mirror", "unknown"):
        served.post("/api/search/instances", '{"filters": {"' + name + '": ' + other + "}, " + text[1:])


BODIES = {
    "empty": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "null": b"null",
    "a number": b"1e999",
    "not UTF-8": b'{"photo": "\xff\xfe"}',
    "UTF-16": '{"photo": ""}'.encode("utf-16"),
    "deep": b'{"box": ' + b"[" * 40_000 + b"]" * 40_000 + b"}",
    "deep objects": b'{"a":' * 15_000 + b"1" + b"}" * 15_000,
    "a long number": b'{"box": [' + b"9" * 90_000 + b"]}",
    "twice": b'{"photo": 1, "photo": 2}',
    "many fields": b"{" + b",".join(b'"f%d": 0' % n for n in range(8_000)) + b"}",
}


@pytest.mark.parametrize("path", ["/api/search/patterns", "/api/composite"])
@pytest.mark.parametrize("name", BODIES)
def test_bodies_that_are_no_requests(served, name, path):
    assert served.post(path, BODIES[name])[0] == 400


def test_bodies_that_are_too_large(served):
    text = '{"category": "' + "x" * 200_000 + '"}'
    assert served.post("/api/search/patterns", text)[0] == 413
    assert served.upload(bytes(3_000_000))[0] == 413
    chunked = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    pieces = b"".join(b"10000\r\n" + b"x" * 65536 + b"\r\n" for _ in range(4)) + b"0\r\n\r\n"
    assert checked(served.ask("POST", "/api/search/patterns", pieces, chunked), "chunked")[0] == 413
    claimed = b"POST /api/pictures HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999\r\n\r\n"
    with socket.create_connection(("127.0.0.1", served.port), timeout=5) as connection:
        connection.sendall(claimed)
        assert b" 413 " in connection.recv(65536)[:20]  # at once: nothing of the body was sent


FORMS = {
    "no boundary": (form(b"x"), {"Content-Type": "multipart/form-data"}),
    "another boundary": (form(b"x"), multipart("other")),
    "a long boundary": (form(b"x", boundary="b" * 5_000), multipart("b" * 5_000)),
    "an empty boundary": (form(b"x"), {"Content-Type": 'multipart/form-data; boundary=""'}),
    "no end": (form(hostile.encoded())[:-20], multipart()),
    "nothing": (b"", multipart()),
    "text for a file": (
        b'--boundary\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--boundary--\r\n',
        multipart(),
    ),
    "no name": (b"--boundary\r\nContent-Disposition: form-data\r\n\r\nx\r\n--boundary--\r\n", multipart()),
    "no disposition": (b"--boundary\r\nX: y\r\n\r\nx\r\n--boundary--\r\n", multipart()),
    "a long header": (b"--boundary\r\nX: " + b"y" * 100_000 + b"\r\n\r\nx\r\n--boundary--\r\n", multipart()),
    "many parts": (
        b"".join(b'--boundary\r\nContent-Disposition: form-data; name="f%d"\r\n\r\nx\r\n' % n for n in range(3_000))
        + b"--boundary--\r\n",
        multipart(),
    ),
    "an unknown character set": (
        form(b"x"),
        {"Content-Type": "multipart/form-data; charset=klingon; boundary=boundary"},
    ),
    "a URL-encoded form": (b"file=x", {"Content-Type": "application/x-www-form-urlencoded"}),
    "JSON for a form": (b"{}", {"Content-Type": "application/json"}),
    "no type": (b"x", {}),
    "a type that is none": (b"x", {"Content-Type": "\xff/;;=="}),
}


@pytest.mark.filterwarnings("ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning")  # Starlette's files
@pytest.mark.parametrize("name", FORMS)
def test_forms_that_are_none(served, name):
    body, headers = FORMS[name]
    status, answer = checked(served.ask("POST", "/api/pictures", body, headers), name)
    assert status in (400, 413, 415), answer


@pytest.mark.filterwarnings("ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning")  # Starlette's files
@EXAMPLES
@hypothesis.given(data=st.data())
def test_damaged_forms(served, data):
    body = bytearray(form(hostile.encoded("PNG", 8, 8)))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    checked(served.ask("POST", "/api/pictures", bytes(body), multipart()), bytes(body))


@EXAMPLES
@hypothesis.given(data=st.data())
def test_damaged_requests(served, data):
    path = data.draw(st.sampled_from(sorted(PATHS)))
    text = bytearray(sound(served, path).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 4))] = data.draw(
            st.sampled_from([b'"', b"{", b"9", b"-", b"\\u0000", b"\xff", b""])
        )
    served.post(path, bytes(text))


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "elsewhere.example"},
        {"Host": "127.0.0.1.elsewhere.example"},
        {"Host": ""},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    ],
)
def test_requests_of_other_sites(served, headers):
    for path in ("/api/search/patterns", "/api/pictures", "/api/foregrounds"):
        assert checked(served.ask("POST", path, b"{}", headers), headers)[0] == 403
    if "Sec-Fetch-Mode" not in headers:
        assert checked(served.ask("GET", "/api/gallery", None, headers), headers)[0] == 403


def test_methods_that_are_not_offered(served):
    for method in ("TRACE", "OPTIONS", "PATCH", "PROPFIND", "X" * 50):
        for path in ("/", "/api/gallery", "/api/search/patterns"):
            status, _, headers = served.ask(method, path)
            assert 400 <= status < 500, method
            assert "access-control-allow-origin" not in headers
    assert served.ask("PATCH", "/api/gallery")[1]["error"]


RAW = {
    "large headers": b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
    "many headers": b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * 50_000 + b"\r\n",
    "a long path": b"GET /" + b"y" * 200_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "no request": b"\r\n\r\nhello\r\n\r\n",
    "two lengths": b"POST /health HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    "a negative length": b"POST /health HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
    "length and chunks": b"POST /api/pictures HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a NUL in a header": b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\0b\r\n\r\n",
}


@pytest.mark.parametrize("name", RAW)
def test_what_is_no_request_ends_the_connection(served, name):
    found = served.exchange(RAW[name])
    assert found is not None, "still open"
    assert found == b"" or found.startswith(b"HTTP/1.1 4"), found[:200]


DRIPS = {
    "headers": (b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ", b"y"),
    "a body": (b"POST /api/search/patterns HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 90000\r\n\r\n{", b" "),
    "an upload": (
        b"POST /api/pictures HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=boundary\r\n"
        b"Content-Length: 90000\r\n\r\n" + form(b"")[:90],
        b"x",
    ),
}


@pytest.mark.parametrize("name", DRIPS)
def test_what_drips_is_cut_off(served, name):
    """A byte every 50 ms: while it lasts others are answered, and it does not last."""
    head, drop = DRIPS[name]
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall(head)
        started, found = time.monotonic(), b""
        connection.settimeout(0.05)
        while time.monotonic() - started < 8:
            try:
                connection.sendall(drop)
                part = connection.recv(65536)
            except TimeoutError:
                continue
            except ConnectionError:
                break
            found += part
            if not part:
                break
        assert time.monotonic() - started < 8, "still open"
    assert found == b"" or b" 408 " in found[:20], found[:200]
    assert served.ask("GET", "/health")[0] == 200


def test_a_picture_is_answered_as_what_it_is(served):
    """A sound picture with a script behind it: what comes back is a picture by type, and is not sniffed."""
    status, answer = served.upload(hostile.encoded("PNG") + b"<script>alert(1)</script>", filename="page.html")
    assert status == 200
    body = json.dumps({"photo": answer["picture"], "layers": []})
    status, picture, headers = served.ask("POST", "/api/composite", body.encode(), {"Content-Type": "application/json"})
    assert (status, headers["content-type"], headers["x-content-type-options"]) == (200, "image/png", "nosniff")
    assert b"script" not in picture


def test_everything_is_still_there(served):
    """After all that: searches are answered, nothing waits, no upload is left in the middle."""
    assert served.post("/api/search/patterns", sound(served, "/api/search/patterns"))[0] == 200
