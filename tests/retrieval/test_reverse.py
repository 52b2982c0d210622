"""Reverse search: of many queries those that a foreground fits, with a bundle whose latent space is colour."""

import json

import numpy as np
import pytest
from fake_bundle import FakeBundle, FakeExperts, build_from, disc, photo

from fos_jax.errors import InputError
from fos_jax.gallery.sources import CutoutRecord
from fos_jax.retrieval.queries import BATCH_SIZE, SearchQuery
from fos_jax.retrieval.rules import Filters
from fos_jax.retrieval.search import ForegroundSearch

BOX = (10, 5, 30, 25)
ANY = Filters(max_upscale=np.inf, aspect_tolerance=np.inf, any_truncation=True)


@pytest.fixture(scope="module", params=[FakeBundle, FakeExperts])
def search(request, tmp_path_factory):
    """Ten cars from red (car0) to blue (car9); with experts ten lamps, which have no patterns, too."""
    bundle = request.param()
    names = ("car", "lamp") if bundle.accepts_any_category else ("car",)
    records = [
        CutoutRecord(f"{name}{i}", name, disc((250 - 25 * i, 0, 25 * i + 5), 20 + 2 * i))
        for name in names
        for i in range(10)
    ]
    path = tmp_path_factory.mktemp("reverse") / "g"
    build_from(records, path, bundle)
    with ForegroundSearch.open(path, bundle) as opened:
        yield opened


def places(n):
    """From red to blue."""
    return [(photo(250 - 240 * i // max(n - 1, 1), 10 + 240 * i // max(n - 1, 1)), BOX) for i in range(n)]


@pytest.mark.parametrize("name", ["car0", "car9"])
def test_scores_are_those_of_hits_and_come_best_first(search, name):
    found = search.reverse(name, places(9))
    assert sorted(hit.query for hit in found) == list(range(9))
    assert [hit.rank for hit in found] == list(range(9))
    assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)
    for one in found:
        hits = search.instances(*places(9)[one.query], "car", k=99, filters=ANY)
        own = next(hit for hit in hits if hit.id == name)
        assert one.score == pytest.approx(own.score, rel=1e-5)
        assert one.parts == pytest.approx(own.explanation().parts, rel=1e-5)
        assert one.why.split(" The cut-out:")[0] == own.why.split(" The cut-out:")[0]
        assert one.percentile == pytest.approx(np.mean([hit.score < own.score for hit in hits]), abs=0.1001)
    assert found[0].query == (0 if name == "car0" else 8)
    json.dumps([hit.to_json() for hit in found])
    assert search.reverse(name, places(9), k=2) == found[:2]


def test_batches_change_nothing_and_queries_may_come_one_by_one(search):
    n = BATCH_SIZE + 3
    search.bundle.batch_sizes.clear()
    found = search.reverse("car3", places(n), k=5)
    assert search.bundle.batch_sizes == [BATCH_SIZE, 8]
    assert search.reverse("car3", (SearchQuery(*place, "car") for place in places(n)), k=5) == found
    (alone,) = search.reverse("car3", [places(n)[found[0].query]])
    assert alone.score == pytest.approx(found[0].score, rel=1e-6)
    assert search.reverse("car3", []) == []


def test_a_cutout_gets_the_score_of_the_pair(search, tmp_path):
    cutout = disc((200, 0, 60))
    found = search.reverse(cutout, places(4), category="car")
    for hit in found:
        pair = search.score(*places(4)[hit.query], "car", cutout)
        assert (hit.score, hit.percentile, hit.why) == (pytest.approx(pair.score), pair.percentile, pair.why)
    assert {hit.pattern for hit in found} == {0, 1}  # the pattern that carries the score, not the cut-out's


def test_categories_without_patterns(search):
    if not search.bundle.accepts_any_category:
        pytest.skip("this bundle knows its categories only")
    found = search.reverse("lamp2", places(3))
    assert {hit.pattern for hit in found} == {-1}
    assert all(hit.why.startswith("Appearance") or hit.why.startswith("Geometry") for hit in found)


def test_what_makes_no_sense_is_named(search):
    for options, message in (
        ({"foreground": "car77"}, "no foreground 'car77'"),
        ({"k": 0}, "k: got 0"),
        ({"category": "chair"}, "category: got 'chair', foreground car1 is of 'car'"),
        ({"foreground": disc((9, 9, 9))}, "category: none given"),
        ({"queries": [*places(2), (photo(), (0, 0, 99, 9))]}, "query 2: box: .* inside the image of 60 x 40"),
        (
            {"queries": [SearchQuery(photo(), BOX, "chair")]},
            "query 0: category: got 'chair', .* of 'car'",
        ),
        ({"weights": {"taste": 1}}, "weights: unknown expert 'taste'"),
    ):
        with pytest.raises(InputError, match=message):
            search.reverse(**{"foreground": "car1", "queries": places(1)} | options)
