"""The service: answers, refusals in one line, and no confirmed action lost when it is killed."""

import http.client
import io
import json
import signal
import threading
import urllib.parse

import pytest
from PIL import Image

from fos_jax.verification.export import read_export


def revisions_of(server, category="arrow"):
    found = server.json(f"/api/groups?category={category}&annotator=ann")
    return {str(entry["group"]): entry["revision"] for entry in found["groups"]}


def action(annotator, kind, parameters, revisions, **more):
    return {"annotator": annotator, "kind": kind, "parameters": parameters, "revisions": revisions, **more}


def test_page_and_its_files(shared_server):
    status, headers, body = shared_server.request("/")
    assert status == 200
    assert headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in headers["content-security-policy"]
    for name in ("app.js", "grid.js", "style.css"):
        assert f"/page/{name}".encode() in body or name == "grid.js"
        assert shared_server.request(f"/page/{name}")[0] == 200
    assert b"http" not in body.replace(b"<!doctype html>", b"")  # nothing from elsewhere


def test_groups_and_thumbnails(shared_server):
    session = shared_server.json("/api/session?annotator=ann")
    assert session["cutouts"] == 24
    assert session["progress"]["arrow"] | {"patterns": 4, "cutouts": 18, "mine": 0} == session["progress"]["arrow"]
    groups = shared_server.json("/api/groups?category=arrow&annotator=ann")["groups"]
    assert [(entry["kind"], entry["size"]) for entry in groups] == [
        *[("pattern", size) for size in (7, 5, 3, 2)],
        ("outliers", 1),
        ("rejected", 0),
    ]
    detail = shared_server.json(f"/api/groups/{groups[2]['group']}?annotator=ann")
    assert len(detail["members"]) == 3
    assert detail["similar"][0] == groups[3]["group"]  # the other arrows to the right
    cutout = detail["members"][0][0]
    path = f"/thumbnails/{session['fingerprint']}/{cutout}"
    status, headers, body = shared_server.request(path)
    assert status == 200
    assert "immutable" in headers["cache-control"]
    image = Image.open(io.BytesIO(body))
    assert (image.format, image.size) == ("WEBP", (128, 128))
    assert shared_server.request(path, headers={"If-None-Match": headers["etag"]})[0] == 304


BAD_PATHS = [
    ("/api/nothing", 404),
    ("/api/groups?annotator=ann", 400),
    ("/api/groups?category=boat&annotator=ann", 404),
    ("/api/groups?category=arrow", 400),
    ("/api/groups?category=arrow&annotator=%20", 400),
    ("/api/groups/999?annotator=ann", 404),
    ("/api/groups/1e3?annotator=ann", 400),
    ("/api/groups/-1?annotator=ann", 400),
    ("/api/changes?since=yesterday", 400),
    ("/api/history?limit=-4", 400),
    ("/api/suggestions?category=boat", 404),
    ("/thumbnails/other/0", 404),
    ("/thumbnails/{fingerprint}/24", 404),
    ("/thumbnails/{fingerprint}/..%2f..%2fetc%2fpasswd", 404),
    ("/page/../server.py", 404),
    ("/page/..%2fserver.py", 404),
    ("/page/%2e%2e/%2e%2e/store.py", 404),
    ("/page//etc/passwd", 404),
    ("/../../../../etc/passwd", 404),
]


@pytest.mark.parametrize(("path", "status"), BAD_PATHS)
def test_bad_paths_are_refused_in_one_line(shared_server, path, status):
    path = path.format(fingerprint=shared_server.json("/api/session?annotator=ann")["fingerprint"])
    # Sent as it is: urllib would tidy the path up.
    connection = http.client.HTTPConnection(urllib.parse.urlparse(shared_server.address).netloc, timeout=60)
    connection.putrequest("GET", path)
    connection.endheaders()
    response = connection.getresponse()
    body = response.read()
    connection.close()
    assert response.status == status, body
    message = json.loads(body)["error"]
    assert message
    assert "\n" not in message


GOOD = {"cutouts": [0], "to": 0}
BAD_BODIES = [
    (b"{", 400),
    (b"[]", 400),
    (b"\xff\xfe", 400),
    (b"null", 400),
    (b"[" * 100_000, 400),
    (json.dumps(action("ann", "move", [], {})).encode(), 400),
    (json.dumps(action("ann", 7, GOOD, {})).encode(), 400),
    (json.dumps(action("ann", "fly", {}, {})).encode(), 400),
    (json.dumps(action("", "move", GOOD, {})).encode(), 400),
    (json.dumps(action("ann", "move", GOOD, {"0": "x"})).encode(), 400),
    (json.dumps(action("ann", "move", GOOD, {"zero": 0})).encode(), 400),
    (json.dumps(action("ann", "move", GOOD, [])).encode(), 400),
    (json.dumps(action("ann", "move", GOOD, {})).encode(), 400),
    (json.dumps(action("ann", "move", GOOD, {}, colour=1)).encode(), 400),
    (json.dumps(action("ann", "move", GOOD, {}, request=5)).encode(), 400),
    (json.dumps(action("ann", "move", {"cutouts": [10**6], "to": 0}, {})).encode(), 404),
    (json.dumps(action("ann", "move", {"cutouts": [0], "to": 10**6}, {})).encode(), 404),
    (json.dumps(action("ann", "undo", {}, {})).encode(), 400),
    (b" " * 8_000_001, 413),
]


@pytest.mark.parametrize(("body", "status"), BAD_BODIES, ids=range(len(BAD_BODIES)))
def test_bad_bodies_are_refused_in_one_line(shared_server, body, status):
    message = shared_server.json("/api/actions", raw=body, status=status)["error"]
    assert message
    assert "\n" not in message
    assert shared_server.json("/api/session?annotator=ann")["revision"] == 0


def test_other_sites_and_names_are_refused(shared_server):
    body = action("ann", "name", {"group": 0, "name": "x"}, {"0": 0})
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        assert "error" in shared_server.json("/api/actions", body, headers=headers, status=403)
    shared_server.json("/api/actions", body, headers={"Content-Type": "text/plain"}, status=415)
    assert shared_server.request("/api/actions")[0] == 405


def test_stale_action_names_what_changed(start_server):
    server = start_server()
    seen = revisions_of(server)
    server.json("/api/actions", action("ann", "merge", {"groups": [1], "into": 0}, seen))
    answer = server.json("/api/actions", action("bob", "name", {"group": 0, "name": "x"}, seen), status=409)
    assert answer["error"] == "group 0: changed since it was shown: merge by ann (action 1)"
    assert answer["conflicts"][0]["changed_by"][0]["kind"] == "merge"
    gone = server.json("/api/actions", action("bob", "confirm", {"group": 1}, seen), status=404)
    assert gone["error"] == "group 1: was merged into group 0"
    changes = server.json("/api/changes?since=0")
    assert [entry["annotator"] for entry in changes["actions"]] == ["ann"]


def test_labels_spread_from_verified_members(start_server):
    server = start_server()
    refused = server.json("/api/suggestions?category=arrow", status=400)
    assert refused["error"] == "category: nothing of arrow is verified yet, expected members to learn from"
    for group in (0, 3):
        server.json("/api/actions", action("ann", "confirm", {"group": group}, revisions_of(server)))
    found = server.json("/api/suggestions?category=arrow")
    assert found["verified"] == 8
    batches = {batch["group"]: batch for batch in found["batches"]}
    right = [cutout for cutout, _ in batches[0]["cutouts"]]
    certainties = [certainty for _, certainty in batches[0]["cutouts"]]
    assert certainties == sorted(certainties)
    # both of the other group of right arrows and the outlier, wherever the upward ones go
    members = [m[0] for m in server.json("/api/groups/1?annotator=ann")["members"]]
    assert set(members) <= set(right)
    assert found["revisions"].keys() >= {str(group) for group in batches[0]["from"]}
    move = action("ann", "move", {"cutouts": members, "to": 0}, found["revisions"])
    assert server.json("/api/actions", move)["action"] == 3


def test_killing_the_server_loses_no_confirmed_action(start_server, tmp_path):
    """Two annotators act while the server is killed in between; every answer that came is in the history."""
    confirmed, sent = [], 0
    for round_ in range(2):
        server = start_server()
        known = [entry["action"] for entry in server.json("/api/history?limit=1000")["actions"]]
        assert set(confirmed) <= set(known)
        assert sorted(known) == list(range(1, len(known) + 1))
        timer = threading.Timer(0.3 + 0.3 * round_, server.process.send_signal, (signal.SIGKILL,))
        timer.start()
        try:
            while True:
                who = ("ann", "bob")[sent % 2]
                sent += 1
                body = action(who, "name", {"group": 0, "name": f"n{sent}"}, revisions_of(server))
                confirmed.append(server.json("/api/actions", body)["action"])
        except (OSError, http.client.HTTPException):
            pass
        timer.join()
        server.process.communicate()
    server = start_server()
    known = [entry["action"] for entry in server.json("/api/history?limit=1000")["actions"]]
    assert set(confirmed) <= set(known)
    assert len(known) <= sent
    body = server.request("/api/export")[2]
    (tmp_path / "export.json").write_bytes(body)
    assert read_export(tmp_path / "export.json").last_action == max(known)
    code, errors = server.stop()
    assert code in (0, -signal.SIGTERM, 143), errors
    assert "Traceback" not in errors


def test_program_refuses_what_does_not_match(world, tmp_path, capfd):
    import subprocess
    import sys

    program = [sys.executable, "-m", "fos_jax.launch.verify", f"--store={tmp_path / 's.sqlite'}"]
    done = subprocess.run(
        [*program, f"--export={tmp_path / 'e.json'}"], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "does not exist" in done.stderr
    assert done.stderr.count("\n") == 1
