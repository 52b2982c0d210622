"""Search with a bundle whose latent space is colour: every answer is known."""

import io
import json
from collections import Counter

import numpy as np
import pytest
from fake_bundle import FakeBundle, disc
from PIL import Image

from fos_jax.errors import InputError
from fos_jax.gallery.building import build_gallery
from fos_jax.gallery.sources import CutoutRecord
from fos_jax.images import read_image
from fos_jax.retrieval.contact_sheet import contact_sheet
from fos_jax.retrieval.queries import SearchQuery, encode_queries
from fos_jax.retrieval.results import results_json, results_text, write_composites
from fos_jax.retrieval.rules import Filters
from fos_jax.retrieval.search import ForegroundSearch

BOX = (10, 5, 30, 25)


class _Source:
    name, skipped = "test", Counter()

    def __init__(self, records):
        self._records = records

    def __len__(self):
        return len(self._records)

    def __iter__(self):
        return iter(self._records)


def _photo(red=250, blue=5, width=60, height=40):
    return np.full((height, width, 3), (red, 0, blue), np.uint8)


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    """Ten cars from red (car0) to blue (car9), growing wider, and two chairs."""
    records = [
        CutoutRecord(
            f"car{i}", "car", disc((250 - 25 * i, 0, 25 * i + 5), 20 + 4 * i, 20), f"s{i}", "CC0" if i % 2 else "BY"
        )
        for i in range(10)
    ]
    records += [CutoutRecord(f"chair{i}", "chair", disc((200, 0, 50 + i), 20, 30)) for i in range(2)]
    path = tmp_path_factory.mktemp("search") / "g"
    build_gallery(_Source(records), FakeBundle(), path, bundle_path=path.parent)
    with ForegroundSearch.open(path, FakeBundle()) as opened:
        yield opened


@pytest.mark.parametrize("ranking", ["posterior", "cosine"])
def test_colours_find_their_like(search, ranking):
    red = search.instances(_photo(), BOX, "car", k=3, ranking=ranking)
    blue = search.instances(_photo(5, 250), BOX, "car", k=3, ranking=ranking)
    assert [hit.id for hit in red] == ["car0", "car1", "car2"]
    assert [hit.id for hit in blue] == ["car9", "car8", "car7"]
    assert [hit.rank for hit in red] == [0, 1, 2]
    assert red[0].score > red[1].score > red[2].score


def test_scores_by_hand(search):
    hit = search.instances(_photo(), BOX, "car", k=1)[0]
    p_query, p_foreground = 251 / 257, float(search.gallery.category("car").posteriors[0][0])
    assert p_foreground == pytest.approx(251 / 257, abs=0.02)  # the edge is soft
    assert hit.score == pytest.approx(p_query * p_foreground + (1 - p_query) * (1 - p_foreground), rel=1e-5)
    cosine = search.instances(_photo(), BOX, "car", k=1, ranking="cosine")[0]
    assert cosine.score == pytest.approx(1, abs=1e-2)


def test_what_a_hit_tells(search):
    hit = search.instances(_photo(), BOX, "car", k=1)[0]
    assert (hit.category, hit.pattern, hit.description) == ("car", 0, "red car")
    assert hit.attributes == {"colour": "red"}
    assert (hit.licence, hit.source_id, hit.width_px, hit.height_px) == ("BY", "s0", 20, 20)
    assert "red car" in hit.why
    explanation = hit.explanation()
    assert explanation.score == pytest.approx(hit.score, rel=1e-4)
    assert explanation.terms[0].pattern == 0
    by_cosine = search.instances(_photo(), BOX, "car", k=1, ranking="cosine")[0]
    assert by_cosine.why.startswith("Cosine 1.00")
    assert hit.cutout().mode == hit.thumbnail().mode == "RGBA"
    json.dumps(hit.to_json())


def test_composites(search):
    hit = search.instances(_photo(0, 100), BOX, "car", k=10)[-1]
    composite = np.asarray(hit.composite())
    assert composite.shape == (40, 60, 3)
    assert hit.id == "car0"
    np.testing.assert_array_equal(composite[15, 20], [250, 0, 5])
    outside = np.ones((40, 60), bool)
    outside[5:25, 10:30] = False
    np.testing.assert_array_equal(composite[outside], _photo(0, 100)[outside])
    assert (composite[5:25, 10:30] != [0, 0, 100]).any()


def test_more_asked_for_than_there_is(search):
    assert len(search.instances(_photo(), BOX, "car", k=99)) == 10
    assert len(search.instances(_photo(), BOX, "chair", k=99)) == 2


def test_every_kind_of_photograph_gives_the_same(search, tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(_photo()).save(path)
    sources = [_photo(), path, str(path), path.read_bytes(), Image.open(path)]
    scores = [[hit.score for hit in search.instances(source, BOX, "car")] for source in sources]
    for other in scores[1:]:
        assert other == scores[0]


def test_rectangles_refer_to_the_upright_picture(search):
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(_photo(width=60, height=40)).save(buffer, "PNG", exif=exif)  # upright: 40 wide, 60 high
    assert search.instances(buffer.getvalue(), (0, 0, 40, 60), "car", k=1)[0].composite().size == (40, 60)
    with pytest.raises(InputError, match="inside the image of 40 x 60"):
        search.instances(buffer.getvalue(), (0, 0, 60, 40), "car")


def test_batches_are_one_encoding_and_change_nothing(search):
    queries = [SearchQuery(_photo(250 - 20 * i, 20 * i), BOX, "car" if i % 2 else "chair") for i in range(10)]
    search.bundle.batch_sizes.clear()
    together = search.instances_batch(queries, k=4)
    assert search.bundle.batch_sizes == [64]
    for query, hits in zip(queries, together, strict=True):
        alone = search.instances(query.photo, query.box, query.category, k=4)
        assert [hit.id for hit in alone] == [hit.id for hit in hits]
    assert search.bundle.batch_sizes[1:] == [1] * 10
    assert search.instances_batch([]) == []


def test_a_bad_query_of_a_batch_is_named(search):
    with pytest.raises(InputError, match="query 1: category: unknown 'cat'"):
        search.instances_batch([SearchQuery(_photo(), BOX, "car"), SearchQuery(_photo(), BOX, "cat")])


# Patterns


def test_patterns_come_by_probability_with_their_members(search):
    groups = search.patterns(_photo(5, 250), BOX, "car", k=5, instances=3, representatives=2)
    assert [group.description for group in groups] == ["blue car", "red car"]
    assert groups[0].probability == pytest.approx(251 / 257)
    assert sum(group.probability for group in groups) == pytest.approx(1)
    assert [group.size for group in groups] == [5, 5]
    assert [hit.id for hit in groups[0].hits] == ["car9", "car8", "car7"]
    assert {hit.pattern for hit in groups[1].hits} == {groups[1].id}
    assert [hit.id for hit in groups[1].representatives] == ["car0", "car1"]  # nearest to pure red
    json.dumps(groups[0].to_json())


def test_patterns_without_foregrounds_are_left_out(search):
    groups = search.patterns(_photo(5, 250), BOX, "chair", k=5)
    assert [group.description for group in groups] == ["red chair"]


def test_instances_of_one_pattern(search):
    group = search.patterns(_photo(), BOX, "car", k=2)[1]
    hits = search.instances(_photo(), BOX, "car", pattern=group.id)
    assert sorted(hit.id for hit in hits) == [f"car{i}" for i in range(5, 10)]
    assert [hit.id for hit in hits][:3] == [hit.id for hit in group.hits][:3]
    with pytest.raises(InputError, match="pattern: got 2, expected one of car's: 0 to 1"):
        search.instances(_photo(), BOX, "car", pattern=2)


def test_an_overview_shows_the_less_probable_pattern_where_that_is_worth_a_place(search):
    """Red 2 to blue 1: by score alone the four reddest come; a place goes to blue where its showing counts enough."""
    photo = _photo(170, 85)
    by_score = {hit.id for hit in search.instances(photo, BOX, "car", k=4)}
    (only,) = search.overview(photo, BOX, "car", total=4, coverage_weight=0.0)
    assert {hit.id for hit in only.hits} == by_score == {f"car{i}" for i in range(4)}
    red, blue = search.overview(photo, BOX, "car", total=4, coverage_weight=4.0, representatives=1)
    assert [red.description, blue.description] == ["red car", "blue car"]
    assert [hit.id for hit in red.hits] == ["car0", "car1", "car2"]
    assert [hit.id for hit in blue.hits] == ["car9"]
    assert (red.size, blue.size, len(blue.representatives)) == (5, 5, 1)
    assert sum(len(g.hits) for g in search.overview(photo, BOX, "car", total=99)) == 10
    assert results_json(SearchQuery(photo, BOX, "car"), [red, blue])["groups"][1]["hits"][0]["id"] == "car9"


def test_an_overview_keeps_to_filters_and_refuses_what_makes_no_sense(search):
    allowed = Filters(exclude=["car9", "car0"])
    groups = search.overview(_photo(170, 85), BOX, "car", total=4, coverage_weight=4.0, filters=allowed)
    assert [[hit.id for hit in group.hits] for group in groups] == [["car1", "car2", "car3"], ["car8"]]
    assert [group.size for group in groups] == [4, 4]
    assert search.overview(_photo(), BOX, "car", filters=Filters(licences=[])) == []
    for change, message in (({"total": 0}, "total: got 0"), ({"coverage_weight": -1.0}, "coverage_weight: got -1")):
        with pytest.raises(InputError, match=message):
            search.overview(_photo(), BOX, "car", **change)


# More like this, pairs


def test_more_like_this_leaves_itself_out(search):
    assert [hit.id for hit in search.similar("car4", k=2)] in (["car3", "car5"], ["car5", "car3"])
    assert len(search.similar("car4", k=99)) == 9
    hit = search.similar("chair0")[0]
    assert hit.id == "chair1"
    assert "red chair" in hit.why
    with pytest.raises(InputError, match="answers no photograph"):
        hit.composite()
    with pytest.raises(InputError, match="no foreground 'x'"):
        search.similar("x")


def test_the_score_of_a_pair_is_the_score_of_the_hit(search):
    best = search.instances(_photo(), BOX, "car", k=1)[0]
    pair = search.score(_photo(), BOX, "car", best.cutout())
    assert pair.posterior == pytest.approx(best.score, abs=1e-5)
    assert pair.pattern == best.pattern
    assert pair.why == best.why
    assert pair.percentile >= 0.9
    assert pair.cosine > search.score(_photo(), BOX, "car", disc((0, 0, 255))).cosine
    with pytest.raises(InputError, match="no alpha channel"):
        search.score(_photo(), BOX, "car", np.zeros((5, 5, 3), np.uint8))


# Filters


def test_filters(search):
    def found(**limits):
        return {hit.id for hit in search.instances(_photo(), BOX, "car", filters=Filters(**limits))}

    assert found(min_side_px=50) == {"car8", "car9"}
    assert found(licences=["CC0"]) == {f"car{i}" for i in range(1, 10, 2)}
    assert found(exclude=["car0", "car1"]) == {f"car{i}" for i in range(2, 10)}
    assert found(aspect_tolerance=1.0) == {"car0"}  # the rectangle is square
    assert found(aspect_tolerance=1.2) == {"car0", "car1"}  # 24 x 20 is 1.2
    assert found(max_upscale=0.5) == {"car5", "car6", "car7", "car8", "car9"}  # 20 px wide from 40 px and more
    assert found(licences=[]) == set()
    groups = search.patterns(_photo(), BOX, "car", filters=Filters(exclude=[f"car{i}" for i in range(5)]))
    assert [group.description for group in groups] == ["blue car"]
    assert search.similar("car4", k=1, filters=Filters(min_side_px=50))[0].id == "car8"


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"min_side_px": -1}, "min_side_px: got -1"),
        ({"max_upscale": 0}, "max_upscale: got 0"),
        ({"aspect_tolerance": 0.5}, "aspect_tolerance: got 0.5"),
        ({"aspect_tolerance": float("nan")}, "aspect_tolerance: got nan"),
        ({"licences": "CC0"}, "licences: got one string"),
    ],
)
def test_filters_that_make_no_sense(limits, message):
    with pytest.raises(InputError, match=message):
        Filters(**limits)


# What is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"photo": "nowhere.jpg"}, "nowhere.jpg: cannot be read"),
        ({"box": (0, 0, 0, 5)}, "box: got"),
        ({"box": (0, 0, 61, 5)}, "inside the image of 60 x 40"),
        ({"box": (0, 0, float("nan"), 5)}, "finite"),
        ({"category": "cat"}, "category: unknown 'cat', expected one of car, chair"),
        ({"k": 0}, "k: got 0"),
        ({"k": 2.5}, "k: got 2.5"),
        ({"ranking": "best"}, "ranking: unknown 'best'"),
    ],
)
def test_unusable_questions(search, change, message):
    question = {"photo": _photo(), "box": BOX, "category": "car"} | change
    with pytest.raises(InputError, match=message):
        search.instances(**question)
    with pytest.raises(InputError, match=message):
        search.patterns(**question)


def test_a_gallery_opens_with_its_own_bundle_only(search):
    with pytest.raises(InputError, match=r"was built with bundle fake .*, got bundle other"):
        ForegroundSearch.open(search.gallery.path, FakeBundle("other"))
    teacher = FakeBundle()
    teacher.has_query_encoder = False
    with pytest.raises(InputError, match="bundle fake: has no query encoder"):
        ForegroundSearch.open(search.gallery.path, teacher)


def test_encodings_that_are_not_finite_are_refused():
    class Broken(FakeBundle):
        def _encode(self, colour, category):
            embedding, log_posterior = super()._encode(colour, category)
            return embedding * np.nan, log_posterior

    with pytest.raises(InputError, match="encoding of a query is not finite"):
        encode_queries([SearchQuery(_photo(), BOX, "car")], Broken())


# Results


def test_results_as_json_text_and_pictures(search, tmp_path):
    query = SearchQuery(_photo(), BOX, "car")
    hits = search.instances(query.photo, query.box, query.category, k=5)
    groups = search.patterns(query.photo, query.box, query.category, k=2, instances=3)
    assert json.loads(json.dumps(results_json(query, hits)))["hits"][0]["id"] == "car0"
    assert len(json.loads(json.dumps(results_json(query, groups)))["groups"]) == 2
    lines = results_text(hits).splitlines()
    assert lines[0].split() == ["place", "foreground", "pattern", "score", "size", "in", "px", "licence"]
    assert lines[1].split()[:3] == ["1", "car0", "0"]
    assert [line.split()[:2] for line in lines[1:6]] == [[str(hit.rank + 1), hit.id] for hit in hits]
    assert lines[8].split()[0] == "0"
    assert lines[8].endswith("colour: red 98 %")
    assert results_text(hits).count("colour: red") == 1  # the reason once per pattern, not per foreground
    of_groups = results_text(groups).splitlines()
    assert [line.split()[0] for line in of_groups[1:3]] == ["0", "1"]
    assert of_groups[1].split()[-4:] == ["colour:", "red", "98", "%"]
    assert len({line.index("car") for line in of_groups if "  car" in line}) == 1  # columns align
    assert results_text([]) == "nothing found"
    written = write_composites(tmp_path / "out", hits)
    assert [path.name for path in written][:2] == ["001_car0.png", "002_car1.png"]
    assert len(write_composites(tmp_path / "out", groups)) == 6
    assert read_image(written[0]).shape == (40, 60, 3)
    assert sorted(path.name[0] for path in (tmp_path / "out").iterdir()) == ["0"] * 5 + ["p"] * 6
    for found in (hits, groups, []):
        for composites in (True, False):
            sheet = contact_sheet(query, found, tile=48, columns=3, composites=composites)
            assert sheet.mode == "RGB"
            assert np.asarray(sheet).std() > 0


def test_evidence_is_a_picture_of_the_photograph(search):
    photo = _photo(width=60, height=40)
    photo[:, :30] = (5, 0, 250)  # the left half speaks against red
    reds = np.asarray(search.evidence(photo, BOX, "car", 0), np.int64)
    assert reds.shape == photo.shape
    assert reds[38, 35, 0] > reds[38, 35, 2]
    assert reds[38, 5, 0] < reds[38, 5, 2]
    best = search.patterns(photo, BOX, "car", k=1)[0].id
    by_default = np.asarray(search.evidence(photo, BOX, "car"))
    np.testing.assert_array_equal(by_default, np.asarray(search.evidence(photo, BOX, "car", best)))
    with pytest.raises(InputError, match="pattern: got 2, expected one of car's: 0 to 1"):
        search.evidence(photo, BOX, "car", 2)


def test_results_that_cannot_be_written_are_named(search, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    hits = search.instances(_photo(), BOX, "car", k=1)
    with pytest.raises(InputError, match=r"001_car0\.png: cannot be written"):
        write_composites(tmp_path / "file", hits)
