"""Answers of the service are those of the Python interface; the client reads them."""

import dataclasses
import shutil

import numpy as np
import pytest
from fake_bundle import FakeBundle, disc, photo
from served import BOX, client_of, pixels, png, running

from fos_jax import client as client_module
from fos_jax.client import Client, ServiceError, layer
from fos_jax.compose.layers import Layer, compose_layers
from fos_jax.compose.placement import placement
from fos_jax.errors import InputError
from fos_jax.retrieval.rules import Filters
from fos_jax.retrieval.search import ForegroundSearch
from fos_jax.serving.settings import Settings


@pytest.fixture(scope="module")
def search(built):
    with ForegroundSearch.open(built, FakeBundle()) as opened:
        yield opened


@pytest.fixture
def client(http):
    return client_of(http)


def same(answer, expected):
    """Whether a client's hit or group says what Python's does, to the last digit."""
    for field in dataclasses.fields(answer):
        value = getattr(answer, field.name)
        if field.name == "parts" and not value:  # a hit that answers no photograph has none
            continue
        own = getattr(expected, field.name)
        if field.name in ("hits", "representatives"):
            assert len(value) == len(own)
            for a, b in zip(value, own, strict=True):
                same(a, b)
        elif field.name not in ("attributes", "parts"):
            assert value == own or list(value) == list(own), field.name
        else:
            assert dict(value) == dict(own)


def test_searches(client, search, red, photo_file):
    asked = (photo(250, 5), BOX, "car")
    for options in ({"k": 4}, {"k": 3, "pattern": 1}, {"k": 2, "ranking": "cosine"}, {"k": 5, "diversity": 0.7}):
        hits = client.instances(photo_file, BOX, "car", **options)
        for hit, expected in zip(hits, search.instances(*asked, **options), strict=True):
            same(hit, expected)
    groups = client.patterns(red, BOX, "car", k=2, instances=2, representatives=1)
    for group, expected in zip(groups, search.patterns(*asked, k=2, instances=2, representatives=1), strict=True):
        same(group, expected)
    for group, expected in zip(
        client.overview(red, BOX, "car", total=4), search.overview(*asked, total=4), strict=True
    ):
        same(group, expected)
    (blue,) = client.patterns(red, BOX, "car", attributes={"colour": "blue"})
    assert blue.attributes == {"colour": "blue"}
    same(client.similar("car/0.png", k=2)[0], search.similar("car/0.png", k=2)[0])


def test_filters_and_what_they_refuse(http, client, red):
    wanted = {"licences": ["CC BY"], "tags": ["round"], "max_upscale": "any"}
    assert [hit.id for hit in client.instances(red, BOX, "car", filters=wanted)] == ["car/1.png"]
    body = {"photo": client.hand_in(red), "box": BOX, "category": "car", "filters": {"min_side_px": 100}}
    answer = http.post("/api/search/instances", json=body).json()
    assert answer["hits"] == []
    assert (
        answer["refused"]
        == "of 6 foregrounds of car, refused: 6 shorter than 100 px (a lower min_side_px relaxes that)"
    )
    assert Filters(min_side_px=100)  # the field's name is Python's


def test_score_reverse_and_reasons(client, search, red):
    asked = (photo(250, 5), BOX, "car")
    cutout = disc((250, 0, 5))
    score = client.score(red, BOX, "car", png(cutout), truncated=["left"])
    same(score, search.score(*asked, cutout, truncated=("left",)))
    blue = png(photo(5, 250))
    best, other = client.reverse("car/5.png", [(red, BOX), (blue, BOX)])
    assert (best.query, other.query) == (1, 0)
    told = client.explain_query(red, BOX, "car", foreground="car/0.png", k=1)
    expected = search.explain_query(*asked, k=1).to_json()
    assert {name: told[name] for name in ("text", "attributes", "patterns")} == {
        name: expected[name] if name != "patterns" else list(expected[name])
        for name in ("text", "attributes", "patterns")
    }
    assert told["score"] == pytest.approx(search.reverse("car/0.png", [asked[:2]])[0].score)
    assert len(client.explain_query(red, BOX, "car", pattern=1, k=1)["patterns"]) == 2  # the one that is asked for too
    assert client.evidence(red, BOX, "car", max_side=64).size == (60, 40)


def test_composites(client, search, red):
    (hit,) = client.instances(red, BOX, "car", k=1)
    cutout = pixels(client.cutout(hit.id))
    where = client.place(red, BOX, hit)
    assert where == list(placement(cutout, BOX, 60, 40))
    options = {"harmonise": 0.5, "shadow": 0.4}
    made = pixels(client.composite(red, [layer(hit, where, **options)]))
    np.testing.assert_array_equal(made, compose_layers(photo(250, 5), [Layer(cutout, where, **options)]))
    alone = pixels(client.composite(red, [layer(hit.id, where, mirrored=True)], output="layer"))
    assert alone.shape == (40, 60, 4)
    assert not alone[0, 0].any()
    assert client.composite(red, [layer(hit, where)], max_side=30).size == (30, 20)


def test_the_gallery(client, search, http):
    told = client.gallery()
    assert [entry["name"] for entry in told["categories"]] == ["car", "chair"]
    assert told["licences"] == ["CC BY", "CC0"]
    assert told["tags"] == ["round"]
    assert told["can_change"] is False
    ids = [entry["id"] for entry in client.foregrounds("car", page=4)]
    assert sorted(ids) == [f"car/{n}.png" for n in range(6)]
    mirrored, plain = (pixels(client.cutout("car/0.png", mirrored=flip)) for flip in (True, False))
    np.testing.assert_array_equal(mirrored, plain[:, ::-1])
    assert client.thumbnail("car/0.png").mode == "RGBA"
    first = http.get("/api/foregrounds/car%2F0.png/thumbnail?version=1")
    assert "immutable" in first.headers["cache-control"]
    again = http.get("/api/foregrounds/car/0.png/thumbnail", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    atlas = http.get("/api/atlas?category=car").json()["patterns"]
    assert [entry["size"] for entry in atlas] == [3, 3]
    assert all(len(entry["representatives"]) == 3 and 0 <= entry["x"] <= 1 for entry in atlas)


def test_refusals_are_one_line_and_input_errors_of_the_client(http, client, red):
    for call, words in (
        (lambda: client.instances(red, BOX, "cat"), "category: unknown 'cat'"),
        (lambda: client.instances(red, (0, 0, 100, 100), "car"), "box"),
        (lambda: client.instances(red, BOX, "car", k=201), "k: got 201, expected at most 200"),
        (lambda: client.instances(red, BOX, "car", bogus=1), "bogus"),
        (lambda: client.similar("none"), "foreground: there is no 'none'"),
        (lambda: client.patterns(red, BOX, "car", attributes={"colour": "green"}), "green"),
        (lambda: client.score(red, BOX, "car", red), "no alpha channel"),
        (lambda: client.hand_in(b"no picture"), "file: not an image"),
        (lambda: client.hand_in("nowhere.jpg"), "nowhere.jpg: cannot be read"),
    ):
        with pytest.raises(InputError, match=words):
            call()
    with pytest.raises(ServiceError, match="start the service with --allow_changes") as error:
        client.remove("car/0.png")
    assert error.value.status == 403
    answer = http.post("/api/search/instances", json={})
    assert answer.status_code == 400
    assert answer.json()["request"] == answer.headers["x-request-id"]
    with pytest.raises(ServiceError) as error, Client("http://127.0.0.1:9") as nobody:
        nobody.gallery()
    assert error.value.status == 0


def test_a_forgotten_photograph_is_handed_in_again(built, tmp_path, red):
    with running(Settings(built, tmp_path / "folder")) as http:
        client = client_of(http)
        assert client.instances(red, BOX, "car", k=1)
        shutil.rmtree(tmp_path / "folder" / "pictures")
        (tmp_path / "folder" / "pictures").mkdir()
        assert client.instances(red, BOX, "car", k=1)
        assert len(list((tmp_path / "folder" / "pictures").iterdir())) == 1


def test_a_busy_service_is_waited_for(monkeypatch):
    import httpx

    waits, answers = [], [httpx.Response(429, headers={"Retry-After": "2"}, json={"error": "busy"})] * 2
    monkeypatch.setattr(client_module.time, "sleep", waits.append)
    answers = [*answers, httpx.Response(200, json={"version": 1})]
    found = Client("http://x", transport=httpx.MockTransport(lambda request: answers.pop(0))).gallery()
    assert found == {"version": 1}
    assert waits == [2, 2]
