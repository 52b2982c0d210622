"""Diverse lists: by hand, against a plain loop, and what they do to lists of a gallery."""

from collections import Counter

import numpy as np
import pytest
from fake_bundle import FakeBundle, FakeExperts, build_from, disc, photo
from hypothesis import given, settings
from hypothesis import strategies as st

from fos_jax.errors import InputError
from fos_jax.gallery.sources import CutoutRecord
from fos_jax.retrieval.diversity import mmr
from fos_jax.retrieval.rules import Filters
from fos_jax.retrieval.search import ForegroundSearch

PLACE = (photo(170, 90), (10, 5, 30, 25), "car")
ANY = Filters(max_upscale=np.inf, aspect_tolerance=np.inf, any_truncation=True)


def test_by_hand():
    """Two alike and one that is not: the second place goes to it once .5 (.9 - 1) < .5 (.6 - 0)."""
    relevance, looks = np.array([1.0, 0.9, 0.6]), np.array([[1, 0], [1, 0], [0, 1.0]])
    identity = np.arange(3)
    assert mmr(relevance, looks, identity, 3, 0.0) == [0, 1, 2]
    assert mmr(relevance, looks, identity, 3, 0.2) == [0, 1, 2]  # .8 x .9 - .2 = .52 > .48
    assert mmr(relevance, looks, identity, 3, 0.5) == [0, 2, 1]
    assert mmr(relevance, looks, np.array([0, 1, 0]), 3, 0.5) == [0, 1]
    groups = np.array([7, 7, 9])
    assert mmr(relevance, looks, identity, 3, 0.0, groups=groups, quota=Counter({7: 1, 9: 1})) == [0, 2, 1]
    assert mmr(relevance[:0], looks[:0], identity[:0], 3, 0.5) == []


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.floats(0, 1))
def test_each_choice_is_the_best_of_those_left(seed, n, diversity):
    rng = np.random.default_rng(seed)
    looks = rng.normal(size=(n, 3))
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    relevance = rng.uniform(size=n)
    got = mmr(relevance, looks, np.arange(n), n, diversity)
    assert sorted(got) == list(range(n))
    for i, row in enumerate(got[1:], 1):
        worth = {
            r: (1 - diversity) * relevance[r] - diversity * max(looks[r] @ looks[c] for c in got[:i]) for r in got[i:]
        }
        assert worth[row] == pytest.approx(max(worth.values()))


@pytest.fixture(scope="module", params=[FakeBundle, FakeExperts])
def search(request, tmp_path_factory):
    """Eighty cars of mixed colours; those from car40 on are halves of two colours, so that experts tell them apart."""
    bundle, records, rng = request.param(), [], np.random.default_rng(0)
    for i in range(80):
        red, dark = 37 * i % 250, int(rng.integers(40, 250))
        cutout = disc((red, 0, 250 - red), 20, 20)
        cutout[:, : 10 * (i >= 40), :3] = dark
        records.append(CutoutRecord(f"car{i}", "car", cutout, licence="CC0" if i % 3 else "BY"))
    path = tmp_path_factory.mktemp("diverse") / "g"
    build_from(records, path, bundle, mirror=True)
    with ForegroundSearch.open(path, bundle) as opened:
        yield opened


def looks_of(search, hits):
    rows = search.gallery.category("car")
    looks = rows.experts.get("appearance", rows.embeddings)
    return np.array([looks[rows.place_of(hit.row)] for hit in hits])


def likeness(search, hits):
    """Mean cosine of two of the list."""
    looks = looks_of(search, hits)
    return (looks @ looks.T)[np.triu_indices(len(hits), 1)].mean()


def test_likeness_falls_and_scores_fall_little(search):
    lists = {d: search.instances(*PLACE, k=12, filters=ANY, diversity=d) for d in (0.0, 0.2, 0.5, 0.8)}
    alike = [likeness(search, hits) for hits in lists.values()]
    scores = [np.mean([hit.score for hit in hits]) for hits in lists.values()]
    assert alike[0] > alike[2] > alike[3] - 1e-6
    assert scores[2] > 0.97 * scores[0]
    assert [hit.id for hit in lists[0.0]] == [hit.id for hit in search.instances(*PLACE, k=12, filters=ANY)]
    for hits in lists.values():
        assert hits[0].id == lists[0.0][0].id
        assert [hit.rank for hit in hits] == list(range(12))
    assert len({hit.pattern for hit in lists[0.8]}) == 2
    true_scores = {hit.id: hit.score for hit in search.instances(*PLACE, k=80, filters=ANY)}
    assert all(hit.score == pytest.approx(true_scores[hit.id], rel=1e-5) for hit in lists[0.5])


@pytest.mark.parametrize(
    "filters",
    [Filters(), ANY, Filters(licences=["BY"]), Filters(only=[f"car{i}" for i in range(9)]), Filters(mirror=True)],
)
@pytest.mark.parametrize("ranking", ["posterior", "cosine"])
def test_exactly_k_come_where_k_exist(search, filters, ranking):
    if filters.mirror and not search.gallery.snapshot().has_mirrored:
        pytest.skip("no mirrored cut-outs")
    for options in ({}, {"pattern": 1}):
        all_of = {hit.id for hit in search.instances(*PLACE, k=999, filters=filters, ranking=ranking, **options)}
        for k in (1, 5, 26, 80, 200):
            for diversity in (0.3, 1.0):
                found = search.instances(*PLACE, k=k, filters=filters, ranking=ranking, diversity=diversity, **options)
                assert len(found) == len({hit.id for hit in found}) == min(k, len(all_of))
                assert {hit.id for hit in found} <= all_of


def test_numbers_that_make_no_sense(search):
    for diversity in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match=r"diversity: got .*, expected a number from 0 to 1"):
            search.instances(*PLACE, diversity=diversity)
