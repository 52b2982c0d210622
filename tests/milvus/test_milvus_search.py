"""Search by photographs in Milvus: the same hits, groups and reasons as from the gallery's folder."""

import dataclasses

import numpy as np
import pytest
from fake_bundle import FakeExperts, build_from, disc, photo

from fos_jax.errors import InputError
from fos_jax.gallery.sources import CutoutRecord
from fos_jax.retrieval.rules import Filters
from fos_jax.retrieval.search import ForegroundSearch

ANY = Filters(max_upscale=np.inf, aspect_tolerance=np.inf, any_truncation=True)
MIRRORED = dataclasses.replace(ANY, mirror=True)
PLACE = (photo(170, 90), (10, 5, 30, 25))


def records():
    sides = (None, (), ("left",), ("left", "bottom"))
    for i in range(40):
        colour = ((37 * i) % 250, 0, (250 - 31 * i) % 250)
        options = {"licence": "CC0" if i % 2 else "BY", "source_id": f"s{i % 3}", "truncated": sides[i % 4]}
        yield CutoutRecord(f"car{i}", "car", disc(colour, 12 + 3 * (i % 7), 10 + 4 * (i % 5)), **options)
    for i in range(6):
        yield CutoutRecord(f"lamp{i}", "lamp", disc((40 * i, 0, 9), 10 + 10 * i, 20))
    yield CutoutRecord("chair0", "chair", disc((9, 0, 200)))


@pytest.fixture(scope="module")
def searches(milvus, tmp_path_factory):
    """The search in the folder and the one in Milvus."""
    from fos_jax.milvus.gallery import MilvusGallery
    from fos_jax.milvus.push import push_gallery
    from fos_jax.milvus.search import MilvusSearch

    path = tmp_path_factory.mktemp("search") / "g"
    build_from(list(records()), path, FakeExperts())
    push_gallery(path, milvus, "search")
    remote = MilvusSearch.of(MilvusGallery(milvus, "search"), FakeExperts(), where="Milvus")
    with ForegroundSearch.open(path, FakeExperts()) as local:
        yield local, remote


def told(found):
    """Hits or groups without what differs: rows, and the order of equal scores."""
    if dataclasses.is_dataclass(found) and hasattr(found, "hits"):
        own = {"representatives": told(found.representatives), "hits": told(found.hits)}
        return (found.id, found.description, found.size, round(found.probability, 5), own)
    if isinstance(found, list | tuple):
        return [told(one) for one in found]
    return round(found.score, 4), found.rank, found.pattern, found.why if found.score < 0 else ""


def same(searches, method, *args, **options):
    local, remote = (getattr(search, method)(*args, **options) for search in searches)
    assert told(local) == told(remote)
    assert len(local)
    return local, remote


@pytest.mark.parametrize("filters", [Filters(), ANY, MIRRORED, dataclasses.replace(ANY, licences=["BY"], tags=())])
@pytest.mark.parametrize("ranking", ["posterior", "cosine"])
def test_instances_are_the_same(searches, ranking, filters):
    local, remote = same(searches, "instances", *PLACE, "car", k=7, ranking=ranking, filters=filters)
    assert {hit.id: hit.to_json() | {"row": 0, "rank": 0} for hit in local[:3]}.keys() <= {hit.id for hit in remote}
    mine, theirs = local[0].to_json(), next(hit for hit in remote if hit.id == local[0].id).to_json()
    assert mine.keys() == theirs.keys()
    assert mine["why"] == theirs["why"]
    assert mine["parts"] == pytest.approx(theirs["parts"])


def test_instances_of_a_pattern_with_other_weights_and_of_other_categories(searches):
    same(searches, "instances", *PLACE, "car", k=5, pattern=1, filters=ANY)
    same(searches, "instances", *PLACE, "car", k=5, weights={"appearance": 4.0}, filters=MIRRORED)
    same(searches, "instances", *PLACE, "lamp", k=99, filters=ANY)
    same(searches, "instances", *PLACE, "chair", k=3, filters=ANY)


@pytest.mark.parametrize("filters", [ANY, MIRRORED, Filters(sources=["s1"])])
def test_groups_are_the_same(searches, filters):
    for k in (1, 2):
        same(searches, "patterns", *PLACE, "car", k=k, instances=4, representatives=2, filters=filters)
    same(searches, "overview", *PLACE, "car", total=9, representatives=2, filters=filters)


def test_diverse_lists_are_the_same(searches):
    for filters in (ANY, MIRRORED):
        for diversity in (0.3, 1.0):
            local, remote = same(searches, "instances", *PLACE, "car", k=9, filters=filters, diversity=diversity)
            assert [hit.id for hit in local] == [hit.id for hit in remote]
    same(searches, "instances", *PLACE, "lamp", k=4, filters=ANY, diversity=0.5)


def test_patterns_by_attributes_and_explanations_are_the_same(searches):
    local, _ = same(searches, "patterns", *PLACE, "car", attributes={"colour": "blue"}, filters=ANY)
    assert [group.description for group in local] == ["blue car"]
    explained = [search.explain_query(*PLACE, "car").to_json() for search in searches]
    assert explained[0] == explained[1]


def test_reverse_search_is_the_same_but_for_the_percentile(searches):
    queries = [(photo(250 - 30 * i, 30 * i), PLACE[1]) for i in range(8)]
    for name in ("car5", "lamp1"):
        local, remote = (search.reverse(name, queries) for search in searches)
        without = [[hit.to_json() | {"percentile": None} for hit in found] for found in (local, remote)]
        assert without[0] == without[1]
        assert remote[0].to_json()["percentile"] is None


def test_more_like_this(searches):
    for ranking in ("cosine", "posterior"):
        _, remote = same(searches, "similar", "car7", k=6, ranking=ranking)
        assert "car7" not in {hit.id for hit in remote}
    same(searches, "similar", "lamp2", k=6)
    with pytest.raises(InputError, match=r"no foreground .nobody. in .*collection search"):
        searches[1].similar("nobody")


def test_pictures_and_reasons_come_from_milvus(searches):
    local, remote = (search.instances(*PLACE, "car", k=3, filters=MIRRORED) for search in searches)
    own = {(hit.id, hit.is_mirrored): hit for hit in remote}
    shared = [hit for hit in local if (hit.id, hit.is_mirrored) in own]
    assert shared
    for hit in shared:
        other = own[hit.id, hit.is_mirrored]
        for picture in ("thumbnail", "cutout", "composite"):
            np.testing.assert_array_equal(np.asarray(getattr(hit, picture)()), np.asarray(getattr(other, picture)()))
        assert hit.explanation().text == other.explanation().text


def test_refusals_are_counted_in_milvus(searches):
    filters = Filters(min_side_px=25, licences=["CC0"], mirror=True)
    local, remote = (search.why_few(*PLACE, "car", pattern=1, filters=filters) for search in searches)
    assert sorted(local.split(", ")) == sorted(remote.split(", "))
    assert remote.startswith("of ")


def test_a_pair_is_scored_without_a_percentile(searches):
    local, remote = (search.score(*PLACE, "car", disc((200, 0, 60))) for search in searches)
    assert remote.score == pytest.approx(local.score)
    assert remote.why == local.why
    assert np.isnan(remote.percentile)


def test_what_needs_all_foregrounds_is_refused(searches):
    with pytest.raises(InputError, match="needs a gallery's folder"):
        searches[1].gallery.snapshot()
    with pytest.raises(InputError, match="k: got 20,000, Milvus gives at most 16,384"):
        searches[1].instances(*PLACE, "car", k=20_000, filters=ANY)
    with pytest.raises(InputError, match=r"category: unknown .boat..* lamp"):
        searches[1].gallery.count("boat")
