"""Galleries with experts: parts that add up, weights at query time, categories without patterns, mirrored cut-outs."""

import dataclasses
import json
import sys

import numpy as np
import pytest
from fake_bundle import FakeBundle, FakeExperts, build_from, disc, photo

from fos_jax.errors import InputError
from fos_jax.gallery.gallery import Gallery
from fos_jax.gallery.indexing import Indexing
from fos_jax.gallery.sources import CutoutRecord
from fos_jax.retrieval.contact_sheet import contact_sheet
from fos_jax.retrieval.queries import SearchQuery, encode_queries
from fos_jax.retrieval.results import results_json, results_text, write_composites
from fos_jax.retrieval.rules import Filters
from fos_jax.retrieval.search import ForegroundSearch

ANY = Filters(max_upscale=np.inf, aspect_tolerance=np.inf, any_truncation=True)
MIRRORED = dataclasses.replace(ANY, mirror=True)
BOX = (10, 5, 30, 25)
WEIGHTS = {"appearance": 0.5, "geometry": 0.25}


def two_sided(left, right, width=20, height=20):
    rgba = np.full((height, width, 4), 255, np.uint8)
    rgba[:, : width // 2, :3], rgba[:, width // 2 :, :3] = left, right
    return rgba


def cars():
    """Ten cars from red to blue, wider and wider, and two blue ones lit from one side."""
    records = [CutoutRecord(f"car{i}", "car", disc((250 - 25 * i, 0, 25 * i + 5), 20 + 4 * i, 20)) for i in range(10)]
    records.append(CutoutRecord("lit_left", "car", two_sided((0, 0, 250), (0, 0, 60))))
    return [*records, CutoutRecord("lit_right", "car", two_sided((0, 0, 60), (0, 0, 250)), truncated=("left",))]


def others():
    chairs = [CutoutRecord(f"chair{i}", "chair", disc((200, 0, 50 + i), 20, 30)) for i in range(2)]
    lamps = [CutoutRecord(f"lamp{i}", "lamp", disc((200 - 60 * i, 0, 9), 10 + 10 * i, 20)) for i in range(4)]
    return [*lamps, *chairs, CutoutRecord("bus0", "bus", disc((9, 0, 9)))]


def build(path, records=None, bundle=None, **options):
    return build_from([*cars(), *others()] if records is None else records, path, bundle or FakeExperts(), **options)


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    path = tmp_path_factory.mktemp("experts") / "g"
    build(path, batch_size=5)
    with ForegroundSearch.open(path, FakeExperts()) as opened:
        yield opened


# The score


@pytest.mark.parametrize("weights", [None, {"geometry": 0.0}, {"appearance": 3.0, "geometry": 0.7}])
def test_one_inner_product_is_the_sum_of_the_parts(search, weights):
    used = WEIGHTS | (weights or {})
    query = encode_queries([SearchQuery(photo(), BOX, "car")], search.bundle, weights=weights)[0]
    rows = search.gallery.category("car")
    product = rows.vectors("posterior") @ rows.query_vector(query, "posterior")
    expected = rows.posteriors @ query.posterior
    for name, weight in used.items():
        expected = expected + weight * (rows.experts[name] @ query.experts[name])
    np.testing.assert_allclose(product, expected, rtol=1e-5)
    hits = search.instances(photo(), BOX, "car", weights=weights, filters=ANY)
    assert [rows.place_of(hit.row) for hit in hits] == np.argsort(-expected, kind="stable").tolist()
    for hit in hits:
        assert hit.score == pytest.approx(sum(hit.parts.values()), rel=1e-5)
        assert set(hit.parts) == {"pattern", "appearance", "geometry"}


def test_without_weight_the_posterior_alone_ranks(search, tmp_path):
    plain = FakeBundle(table=search.table)
    build(tmp_path / "g", [*cars()], plain)
    nothing = {"appearance": 0, "geometry": 0}
    got = search.instances(photo(), BOX, "car", weights=nothing, filters=ANY)
    with ForegroundSearch.open(tmp_path / "g", plain) as without:
        expected = without.instances(photo(), BOX, "car")
    assert [(hit.id, hit.score) for hit in got] == [(hit.id, pytest.approx(hit.score)) for hit in expected]


def test_inside_a_pattern_the_experts_decide(search):
    """The blue two that are lit from one side differ in nothing but that."""
    night = lit_from_the_left()
    groups = {group.description: group for group in search.patterns(night, BOX, "car", k=2, filters=ANY)}
    order = [hit.id for hit in groups["blue car"].hits if hit.id.startswith("lit")]
    assert order == ["lit_left", "lit_right"]
    order = [hit.id for hit in search.instances(night[:, ::-1], (30, 5, 50, 25), "car", filters=ANY)]
    assert order.index("lit_right") < order.index("lit_left")
    wide = search.instances(photo(5, 250), (0, 10, 56, 30), "car", weights={"geometry": 9}, filters=ANY)
    assert wide[0].id == "car9"


def test_an_overview_counts_the_experts_too(search):
    groups = search.overview(photo(5, 250), (0, 10, 56, 30), "car", total=3, weights={"geometry": 9}, filters=ANY)
    assert groups[0].hits[0].id == "car9"
    assert sum(len(group.hits) for group in groups) == 3


def test_the_score_of_a_pair_is_the_score_of_the_hit(search):
    hit = search.instances(photo(), BOX, "car", k=1, filters=ANY)[0]
    pair = search.score(photo(), BOX, "car", hit.cutout())
    assert pair.score == pytest.approx(hit.score, abs=1e-5)
    assert pair.parts == pytest.approx(hit.parts, abs=1e-5)
    assert pair.posterior == pytest.approx(hit.parts["pattern"], abs=1e-5)
    assert search.score(photo(), BOX, "car", hit.cutout(), weights={"geometry": 0}).score < pair.score
    lamp = search.score(photo(), BOX, "lamp", hit.cutout())
    assert (lamp.pattern, lamp.posterior, set(lamp.parts)) == (-1, 0, {"appearance", "geometry"})


@pytest.mark.skipif(sys.platform != "linux", reason="ScaNN is published for Linux only")
def test_scann_finds_what_exact_search_finds(tmp_path):
    rng = np.random.default_rng(0)
    records = [
        CutoutRecord(f"fg{i}", "car" if i < 400 else "lamp", disc(rng.integers(0, 256, 3), *rng.integers(6, 20, 2)))
        for i in range(800)
    ]
    build(tmp_path / "g", records, indexing=Indexing(300), mirror=False)
    with ForegroundSearch.open(tmp_path / "g", FakeExperts()) as search:
        for category in ("car", "lamp"):
            rows = search.gallery.category(category)
            assert type(rows.parts[0].indexes["posterior"]).__name__ == "ScannIndex"
            for weights in (None, {"geometry": 0.1}, {"geometry": 4.0}):
                query = encode_queries([SearchQuery(photo(), BOX, category)], search.bundle, weights=weights)[0]
                vector = rows.query_vector(query, "posterior")
                scores, found = rows.search(vector, "posterior", 10)
                product = rows.vectors("posterior") @ vector
                np.testing.assert_allclose(scores, product[found], rtol=1e-5)
                assert scores[0] >= product.max() - 0.01
                assert (scores >= np.sort(product)[-10] - 1e-5).mean() >= 0.9
            hits = search.instances(photo(), BOX, category, filters=ANY, k=10)
            assert len(hits) == 10


# Reasons


def test_a_reason_names_its_parts(search):
    hit = search.instances(photo(), BOX, "car", k=1, filters=ANY)[0]
    parts = hit.explanation().parts
    assert hit.why.startswith(
        f"Pattern {parts['pattern']:.2f} of {hit.score:.2f}, appearance {parts['appearance']:.2f}"
    )
    assert f"geometry {parts['geometry']:.2f} (a squarish rectangle that touches no side)." in hit.why
    assert "“red car” (100 % of the pattern part)" in hit.why
    assert hit.to_json()["parts"] == pytest.approx(parts)
    assert json.loads(json.dumps(hit.explanation().as_dict()))["parts"] == pytest.approx(parts)
    by_cosine = search.instances(photo(), BOX, "car", k=1, ranking="cosine", filters=ANY)[0]
    assert by_cosine.why.startswith("Cosine 1.00. Both are probably")


def test_a_gallery_without_experts_tells_what_it_told(tmp_path):
    build(tmp_path / "g", cars(), FakeBundle())
    with ForegroundSearch.open(tmp_path / "g", FakeBundle()) as search:
        hit = search.instances(photo(), BOX, "car", k=1)[0]
        assert hit.why == "Both are probably “red car” (100 % of the score); this place suggests: colour: red 98 %."
        assert hit.explanation().parts == {"pattern": pytest.approx(hit.score, rel=1e-4)}
        assert len(search.instances(photo(), (0, 0, 60, 4), "car")) == 12  # nothing is demanded
        with pytest.raises(InputError, match="unknown expert 'geometry', expected none in this bundle"):
            search.instances(photo(), BOX, "car", weights={"geometry": 1})
        with pytest.raises(InputError, match="category: unknown 'lamp'"):
            search.instances(photo(), BOX, "lamp")
        with pytest.raises(InputError, match=r"holds no mirrored cut-outs, expected .* that was built with --mirror"):
            search.instances(photo(), BOX, "car", filters=Filters(mirror=True))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"colour": 1}, "weights: unknown expert 'colour', expected appearance or geometry"),
        ({"geometry": float("nan")}, "weights: geometry is nan, expected a finite number of 0 or more"),
        ({"geometry": -0.1}, "weights: geometry is -0.1"),
        ({"geometry": float("inf")}, "weights: geometry is inf"),
        ({"geometry": "much"}, "weights: geometry is 'much'"),
    ],
)
def test_weights_that_make_no_sense(search, weights, message):
    for question in (search.instances, search.patterns, search.overview):
        with pytest.raises(InputError, match=message):
            question(photo(), BOX, "car", weights=weights)


# Categories without patterns


def test_categories_of_the_gallery_in_order(search):
    assert search.gallery.categories == ("car", "chair", "bus", "lamp")
    manifest = search.gallery.manifest
    assert sorted(manifest["built"]["categories_without_patterns"]) == ["bus", "lamp"]
    assert manifest["experts"] == WEIGHTS
    assert set(search.gallery.category("lamp").assigned[:]) == {-1}
    with pytest.raises(InputError, match="unknown 'boat', expected one of car, chair, bus, lamp"):
        search.instances(photo(), BOX, "boat")


def test_experts_rank_a_category_without_patterns(search, tmp_path):
    hits = search.instances(photo(), BOX, "lamp", weights={"appearance": 0}, filters=ANY)
    assert hits[0].id == "lamp1"  # square, as the rectangle is
    assert set(hits[0].parts) == {"appearance", "geometry"}
    assert hits[0].score == pytest.approx(0.25)
    assert (hits[0].pattern, hits[0].confidence, hits[0].description) == (-1, 0, "")
    assert "No patterns are known for lamp." in hits[0].why
    assert hits[0].why.startswith("Geometry 0.25 of 0.25 (a squarish rectangle that touches no side), appearance 0.00.")
    (group,) = search.patterns(photo(), BOX, "lamp", filters=ANY)
    assert (group.id, group.size, group.probability) == (-1, 4, 1)
    assert group.description == "no patterns are known for lamp"
    assert [hit.id for hit in group.hits] == [h.id for h in search.instances(photo(), BOX, "lamp", filters=ANY)]
    (group,) = search.overview(photo(), BOX, "lamp", total=2, filters=ANY)
    assert [hit.id for hit in group.hits] == [h.id for h in search.instances(photo(), BOX, "lamp", k=2, filters=ANY)]
    with pytest.raises(InputError, match="pattern: got 0, expected one of lamp's: none"):
        search.instances(photo(), BOX, "lamp", pattern=0)
    similar = search.similar("lamp0")
    assert len(similar) == 3
    assert similar[0].why == "No patterns are known for lamp."
    json.dumps(results_json(SearchQuery(photo(), BOX, "lamp"), [group]))
    lines = results_text(hits).splitlines()
    assert lines[0].split()[2:6] == ["pattern", "score", "appearance", "geometry"]
    assert lines[1].split()[:3] == ["1", "lamp1", "-"]
    assert lines[-1].split(maxsplit=3)[-1] == "no patterns are known for lamp"
    assert write_composites(tmp_path, [group])[0].name.startswith("001_lamp")
    assert contact_sheet(SearchQuery(photo(), BOX, "lamp"), [group], tile=48).mode == "RGB"


def test_similar_by_posterior_weighs_the_experts(search):
    rows = search.gallery.category("car")
    hits = search.similar("car4", ranking="posterior", k=3)
    own = rows.posteriors @ rows.posteriors[4]
    for name, weight in WEIGHTS.items():
        own = own + weight * (rows.experts[name] @ rows.experts[name][4])
    own[4] = -1
    assert [hit.id for hit in hits] == [
        f"car{i}" if i < 10 else rows.gallery.value("id", rows.rows[i]) for i in np.argsort(-own)[:3]
    ]


def test_evidence_where_no_patterns_are_known(search):
    """Appearance is brightness left and right, so what is bright speaks for a bright foreground."""
    picture = photo(5, 5)
    picture[:, :30] = 250
    evidence = np.asarray(search.evidence(picture, (10, 5, 12, 7), "lamp", weights={"geometry": 0}, filters=ANY))
    assert evidence.shape == picture.shape
    assert (evidence[..., 0].astype(int) - evidence[..., 2])[30:].any()
    nothing = Filters(licences=[])
    with pytest.raises(InputError, match="nothing to explain: of 4 foregrounds of lamp, refused: 4 of another licence"):
        search.evidence(picture, BOX, "lamp", filters=nothing)


# Mirrored cut-outs


def lit_from_the_left():
    night = photo(0, 250)
    night[:, 30:] //= 10
    return night


def test_mirrored_cutouts_come_where_their_pattern_has_a_mirror_image(search):
    cars = search.gallery.category("car", mirror=True)
    blue = cars.assigned[:12] == 1
    assert cars.rows[cars.is_mirrored].tolist() == cars.rows[:12][blue].tolist()
    assert search.gallery.manifest["built"]["num_mirrored"] == blue.sum() + 2  # chairs
    assert not search.gallery.category("lamp", mirror=True).is_mirrored.any()
    assert not any(hit.is_mirrored for hit in search.instances(lit_from_the_left(), BOX, "car", k=99, filters=ANY))


@pytest.mark.parametrize("level", ["instances", "patterns", "overview"])
def test_of_a_cutout_and_its_mirror_image_the_better_one_comes(search, level):
    found = getattr(search, level)(lit_from_the_left(), BOX, "car", filters=MIRRORED)
    hits = found if level == "instances" else [hit for group in found for hit in group.hits]
    assert len({hit.id for hit in hits}) == len(hits) == 12
    offered = {hit.id: hit for hit in hits}
    assert offered["lit_right"].is_mirrored
    assert not offered["lit_left"].is_mirrored
    if level != "instances":
        assert sum(group.size for group in found) == 12


def test_a_mirrored_cutout_is_encoded_and_shown_as_such(search):
    """Lit from the right and mirrored is lit from the left: the same score, the same picture."""
    hits = {hit.id: hit for hit in search.instances(lit_from_the_left(), BOX, "car", k=99, filters=MIRRORED)}
    plain = {hit.id: hit for hit in search.instances(lit_from_the_left(), BOX, "car", k=99, filters=ANY)}
    right = hits["lit_right"]
    assert right.score == pytest.approx(hits["lit_left"].score, rel=1e-5)
    assert right.score > plain["lit_right"].score
    assert sum(right.parts.values()) == pytest.approx(right.score, rel=1e-5)
    assert right.truncated == ("right",)
    assert plain["lit_right"].truncated == ("left",)
    assert hits["lit_left"].truncated is None
    np.testing.assert_array_equal(np.asarray(right.cutout()), two_sided((0, 0, 250), (0, 0, 60)))
    np.testing.assert_array_equal(np.asarray(right.thumbnail()), np.asarray(plain["lit_right"].thumbnail())[:, ::-1])
    np.testing.assert_array_equal(np.asarray(right.composite()), np.asarray(hits["lit_left"].composite()))
    assert "The cut-out: mirrored, cut at the right, but" in right.why
    assert right.to_json()["is_mirrored"] is True
    assert "lit_right (mirrored)" in results_text([right])


def test_pictures_of_mirrored_hits_are_marked(search, tmp_path):
    found = search.instances(lit_from_the_left(), BOX, "car", filters=MIRRORED, k=99)
    hits = [hit for hit in found if hit.is_mirrored]
    assert all(path.name.endswith("_mirrored.png") for path in write_composites(tmp_path, hits))
    query = SearchQuery(photo(), BOX, "car")
    unmarked = [dataclasses.replace(hit, is_mirrored=False) for hit in hits]
    sheets = [np.asarray(contact_sheet(query, shown, tile=96)) for shown in (hits, unmarked)]
    assert (sheets[0] != sheets[1]).any()


def test_galleries_can_do_without_mirrored_cutouts(tmp_path):
    manifest = build(tmp_path / "g", mirror=False)
    assert manifest["built"]["num_mirrored"] == 0
    assert not list((tmp_path / "g").rglob("mirrored*"))
    plain = FakeBundle(table=FakeExperts().table)
    assert build(tmp_path / "h", cars(), plain, mirror=True)["built"]["num_mirrored"] == 7
    with ForegroundSearch.open(tmp_path / "h", plain) as search:
        assert search.gallery.category("car", mirror=True).is_mirrored.sum() == 7
        assert len(search.instances(photo(5, 250), BOX, "car", k=99, filters=Filters(mirror=True))) == 12


# On disk


def test_experts_lie_behind_the_posteriors_times_their_weights(search):
    rows = search.gallery.category("car")
    (part,) = rows.parts
    assert part.vectors.shape == (12, 2 + 3 + 2)
    np.testing.assert_allclose(np.linalg.norm(part.vectors[:, 2:5], axis=1), WEIGHTS["appearance"], rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(rows.experts["geometry"], axis=1), 1, rtol=1e-5)
    assert isinstance(part.vectors.base, np.memmap)


def test_galleries_that_do_not_belong_to_the_bundle(search, tmp_path):
    with pytest.raises(InputError, match=r"was built with bundle experts .*, got bundle fake"):
        ForegroundSearch.open(search.gallery.path, FakeBundle())
    with pytest.raises(InputError, match="holds the vectors of experts appearance, geometry, bundle experts has none"):
        ForegroundSearch.open(search.gallery.path, FakeBundle("experts"))
    build(tmp_path / "g")
    manifest = tmp_path / "g" / "manifest.json"
    raw = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(raw | {"experts": {"../../secret": 1}}))
    with pytest.raises(InputError, match="expected plain names"):
        Gallery.open(tmp_path / "g")
    manifest.write_text(json.dumps(raw | {"experts": {"tone": 1}}))
    with pytest.raises(InputError, match=r"not a gallery's manifest \(KeyError: 'tone'\)"):
        Gallery.open(tmp_path / "g")


def test_experts_that_are_not_finite_are_refused(tmp_path):
    class Broken(FakeExperts):
        def _with_experts(self, encoding, shape, light, category):
            return super()._with_experts(encoding, np.asarray(shape) * np.nan, light, category)

    with pytest.raises(InputError, match="bundle experts: the embedding of car0 is not finite"):
        build(tmp_path / "g", bundle=Broken())
    with pytest.raises(InputError, match="encoding of a query is not finite"):
        encode_queries([SearchQuery(photo(), BOX, "car")], Broken())
