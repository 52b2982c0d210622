"""One suite for all backends: memory, segments on the disk, and each Milvus that there is."""

import math
import os
from collections import Counter

import numpy as np
import pytest
from small_gallery import LAYOUT, create, make, png_of, vectors_of

from fos_jax.errors import InputError
from fos_jax.retrieval.backends import InMemory, Segments, Wish, ranked
from fos_jax.retrieval.rules import Filters, Place

WHOLE = Place((0, 0, 40, 20), 40, 20)
LICENCES, TAGS = ("CC0", "CC BY", 'all "rights" \\ r\u00e9serv\u00e9s'), (["old"], ["old", "red's"], [])
SIDES = (None, "", "left", "left,bottom")
BACKENDS = ("memory", "segments", "milvus_lite", *["milvus_server"] * ("FOS_MILVUS_URI" in os.environ))


def lists(values, n):
    return [values[i % len(values)] for i in range(n)]


def cars(n=60):
    return make(
        [f"car{i}" for i in range(n)],
        mirrored=True,
        licence=lists(LICENCES, n),
        tags=lists(TAGS, n),
        source_id=lists(("a", "b"), n),
        truncated=lists(SIDES, n),
        width_px=[20 + 7 * i for i in range(n)],
        height_px=lists((20, 90, 200), n),
        added_s=[1000.0 + i for i in range(n)],
    )


def first():
    return [cars(), make([f"chair{i}" for i in range(5)], "chair"), make(["l\u00e4mp'0", "lamp1"], "lamp")]


@pytest.fixture(params=BACKENDS)
def backend(request, tmp_path):
    """A backend that holds `first`."""
    path = create(tmp_path / "g", first())
    if request.param == "memory":
        made = InMemory.read(path)
    elif request.param == "segments":
        made = Segments(path)
    else:
        connection = request.getfixturevalue(request.param)
        from fos_jax.milvus.gallery import MilvusGallery
        from fos_jax.milvus.push import push_gallery

        name = f"g{id(request.node)}"
        push_gallery(path, connection, name)
        yield MilvusGallery(connection, name, consistency="Strong")
        connection.call("drop_collection", name)
        connection.call("drop_collection", f"{name}_files")
        return
    yield made
    made.close()


class Query:
    """What is searched by."""

    embedding = vectors_of("query")[0]
    posterior = np.float32([0.3, 0.7])
    experts, weights = {"tone": vectors_of("query")[2]}, {"tone": 0.5}


def vector(ranking, category="car", tone=0.5):
    if ranking == "cosine":
        return Query.embedding
    known = Query.posterior if len(LAYOUT.patterns(category)) else Query.posterior[:0]
    return np.concatenate([known, np.float32(tone / 0.5) * Query.experts["tone"]])


def score(identifier, ranking, category="car", tone=0.5, is_mirrored=False):
    embedding, posterior, own = vectors_of(identifier)
    sign = -1 if is_mirrored else 1
    if ranking == "cosine":
        return sign * float(embedding @ Query.embedding)
    of_patterns = float(posterior @ Query.posterior) if len(LAYOUT.patterns(category)) else 0.0
    return of_patterns + tone * sign * float(own @ Query.experts["tone"])


def best(scores, k):
    """Expected scores, highest first."""
    return sorted(scores, reverse=True)[:k]


def check(found, expected, k):
    """Every list has the k highest of the expected scores (id, whether mirrored -> score), each at its foreground."""
    assert len({(of.id, of.is_mirrored) for of in found}) == len(found)
    np.testing.assert_allclose([of.score for of in found], best(expected.values(), k), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose([of.score for of in found], [expected[of.id, of.is_mirrored] for of in found], rtol=1e-5)


@pytest.mark.parametrize("ranking", ["posterior", "cosine"])
def test_rankings_are_exact(backend, ranking):
    expected = {(f"car{i}", False): score(f"car{i}", ranking) for i in range(60)}
    for k in (1, 7, 60, 500):
        check(ranked(backend, "car", Wish(vector(ranking), ranking, k)), expected, k)
    lamps = {(i, False): score(i, ranking, "lamp") for i in ("l\u00e4mp'0", "lamp1")}
    check(ranked(backend, "lamp", Wish(vector(ranking, "lamp"), ranking, 9)), lamps, 9)


def test_experts_may_weigh_more_or_nothing(backend):
    for tone in (0.0, 5.0):
        expected = {(f"car{i}", False): score(f"car{i}", "posterior", tone=tone) for i in range(60)}
        check(ranked(backend, "car", Wish(vector("posterior", tone=tone), "posterior", 20)), expected, 20)


@pytest.mark.parametrize("ranking", ["posterior", "cosine"])
def test_patterns_are_told_apart(backend, ranking):
    counts = Counter()
    for number in (0, 1):
        own = {
            (f"car{i}", False): score(f"car{i}", ranking)
            for i in range(60)
            if int(vectors_of(f"car{i}")[1].argmax()) == number
        }
        check(ranked(backend, "car", Wish(vector(ranking), ranking, 12, number)), own, 12)
        counts[number] = backend.count("car", pattern=number)
        assert counts[number] == len(own)
    assert counts.total() == backend.count("car") == 60


FILTERS = {
    "licence": (Filters(licences=[LICENCES[2]]), lambda i: i % 3 == 2),
    "no licence": (Filters(licences=[]), lambda i: False),
    "tags": (Filters(tags=["old", "red's"]), lambda i: i % 3 == 1),
    "source": (Filters(sources=["b", "c"]), lambda i: i % 2 == 1),
    "only": (Filters(only=["car3", "car5", "other"]), lambda i: i in (3, 5)),
    "exclude": (Filters(exclude=["car3", "chair0"]), lambda i: i != 3),
    "time": (Filters(added_since_s=1050), lambda i: i >= 50),
    "side": (Filters(min_side_px=300), lambda i: 20 + 7 * i >= 300),
    "upscale": (Filters(max_upscale=0.1), lambda i: 20 + 7 * i >= 400 or i % 3 == 2),
    "aspect": (Filters(aspect_tolerance=1.5), lambda i: abs(math.log((20 + 7 * i) / (20, 90, 200)[i % 3] / 2)) < 0.406),
    "truncation": (Filters(any_truncation=False), lambda i: i % 4 in (0, 1)),
    "several": (Filters(licences=["CC0"], sources=["a"], min_side_px=100), lambda i: not i % 6 and 20 + 7 * i >= 100),
}


@pytest.mark.parametrize("name", FILTERS)
def test_filters_give_exactly_k(backend, name):
    filters, passes = FILTERS[name]
    place = WHOLE if name != "truncation" else Place((10, 5, 20, 10), 40, 20)
    for ranking in ("posterior", "cosine"):
        expected = {(f"car{i}", False): score(f"car{i}", ranking) for i in range(60) if passes(i)}
        found = ranked(backend, "car", Wish(vector(ranking), ranking, 5), filters, place)
        check(found, expected, 5)
    assert backend.count("car", filters, place) == len(expected)


def test_mirrored_foregrounds_come_with_their_own_vectors_and_sides(backend):
    # The rectangle touches the right side of the picture: "left" fits mirrored only.
    place = Place((10, 5, 40, 10), 40, 20)
    filters = Filters(mirror=True, any_truncation=False)
    for ranking in ("posterior", "cosine"):
        plain = {(f"car{i}", False): score(f"car{i}", ranking) for i in range(60) if i % 4 in (0, 1)}
        flipped = {
            (f"car{i}", True): score(f"car{i}", ranking, is_mirrored=True) for i in range(0, 60, 2) if i % 4 in (0, 2)
        }
        found = ranked(backend, "car", Wish(vector(ranking), ranking, 25), filters, place)
        check(found, plain | flipped, 25)
    assert backend.count("car", filters, place) == len({i for i, _ in plain | flipped})


def everything(backend):
    found = {}
    for batch in backend.batches():
        batch.check(LAYOUT)
        for row, (i, thumbnail) in enumerate(zip(batch.ids, batch.thumbnails, strict=True)):
            assert i not in found
            metadata = batch.metadata.slice(row, 1).to_pylist()[0]
            is_mirrored = row in batch.mirrored.tolist()
            pictures = (thumbnail, batch.cutouts[row])
            found[i] = (batch.category, metadata, batch.embeddings[row].tobytes(), is_mirrored, pictures)
    return found


def test_iteration_gives_every_foreground_once_and_whole(backend):
    found = everything(backend)
    assert found.keys() == {f"car{i}" for i in range(60)} | {f"chair{i}" for i in range(5)} | {"l\u00e4mp'0", "lamp1"}
    for identifier, (category, _, embedding, is_mirrored, pictures) in found.items():
        assert embedding == vectors_of(identifier)[0].tobytes()
        assert pictures == (png_of(identifier, "thumbnail"), png_of(identifier, "cutout"))
        assert is_mirrored == (category == "car" and not int(identifier[3:]) % 2)
    assert found["car5"][1]["licence"] == LICENCES[2]
    assert found["car7"][1]["tags"] == ["old", "red's"]
    assert found["car4"][1]["truncated"] is None


def test_changes_are_visible_at_once(backend):
    backend.upsert([make(["new0", "new1"], licence=["new", "new"]), make(["tree0"], "tree")])
    assert backend.count("car") == 62
    assert {
        of.id for of in ranked(backend, "car", Wish(vector("cosine"), "cosine", 99), Filters(licences=["new"]))
    } == {
        "new0",
        "new1",
    }
    assert [of.id for of in ranked(backend, "tree", Wish(vector("cosine"), "cosine", 9))] == ["tree0"]
    # Replaced: another look, no mirrored vectors any more, and one moves to another category.
    backend.upsert([make(["car0", "new0"], look="!"), make(["car2"], "chair")])
    found = {of.id: of.score for of in ranked(backend, "car", Wish(vector("cosine"), "cosine", 99))}
    assert len(found) == backend.count("car") == 61
    assert found["car0"] == pytest.approx(score("car0!", "cosine"), abs=1e-5)
    assert found["new1"] == pytest.approx(score("new1", "cosine"), abs=1e-5)
    assert "car2" in {of.id for of in ranked(backend, "chair", Wish(vector("cosine"), "cosine", 99))}
    mirrored = ranked(backend, "car", Wish(vector("cosine"), "cosine", 99), Filters(mirror=True))
    assert {of.id for of in mirrored if of.is_mirrored} == {f"car{i}" for i in range(4, 60, 2)}
    backend.delete(["car1", "new0", "tree0"])
    now = everything(backend)
    assert now.keys() & {"car1", "new0", "new1", "tree0", "car2"} == {"new1", "car2"}
    assert now["car0"][4] == (png_of("car0!", "thumbnail"), png_of("car0!", "cutout"))
    assert backend.count("car") == 59
    backend.upsert([make(["car1"])])
    assert backend.count("car") == 60


def test_pictures_are_found_from_a_snapshot(backend):
    state = backend.candidates("car", [Wish(vector("cosine"), "cosine", 3)])
    rows = state.category("car")
    _, places = rows.search(vector("cosine"), "cosine", 3)
    for place in places.tolist():
        row = int(rows.rows[place])
        assert state.picture(row, "cutout") == png_of(state.value("id", row), "cutout")


def test_bad_input_is_refused_in_one_line_and_changes_nothing(backend):
    before = everything(backend)
    cosine, bad = vector("cosine"), make(["bad0", "bad1"])
    bad.embeddings[1, 0] = np.nan
    long, zero = make(["long0"]), make(["zero0"])
    zero.embeddings[0] = 0
    cases = [
        (lambda: backend.upsert([bad]), "bad1: its embedding is not finite"),
        (lambda: backend.upsert([zero]), "zero0: its embedding vector has length 0, expected 1"),
        (lambda: backend.upsert([make(["twice", "twice"])]), "twice: this id comes twice"),
        (lambda: backend.delete(["car3", "nothing"]), "id: no foreground 'nothing' in "),
        (lambda: backend.delete(["car3", "car3"]), "id: 'car3' comes twice"),
        (lambda: backend.delete([]), "id: none given"),
        (
            lambda: ranked(backend, "boat", Wish(cosine, "cosine", 3)),
            "category: unknown 'boat', expected one of car, ch",
        ),
        (lambda: backend.count("boat"), "category: unknown 'boat'"),
        (lambda: ranked(backend, "car", Wish(cosine, "age", 3)), "ranking: unknown 'age'"),
        (lambda: ranked(backend, "car", Wish(cosine[:2], "cosine", 3)), r"query vector: .* expected 4 finite numbers"),
        (lambda: ranked(backend, "car", Wish(cosine * np.nan, "cosine", 3)), "expected 4 finite numbers"),
    ]
    for call, message in cases:
        with pytest.raises(InputError, match=message) as raised:
            call()
        assert "\n" not in str(raised.value)
    assert len(long) == 1
    assert everything(backend) == before
    assert "search sees" in backend.consistency
