"""Rules of composition of a cut-out, with and without the flag that relaxes it, and what is said of it."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_bundle import FakeBundle, FakeExperts, build_from, disc, photo
from PIL import Image

from fos_jax.boxes import touched_sides
from fos_jax.cutouts.extraction import extract
from fos_jax.cutouts.filters import default_config
from fos_jax.errors import InputError
from fos_jax.gallery.foregrounds import mirrored_sides
from fos_jax.gallery.sources import CutoutRecord
from fos_jax.images import read_image
from fos_jax.retrieval.rules import Filters, Place, fit_sentence, parse_limit, rectangle_phrase
from fos_jax.retrieval.search import ForegroundSearch

INSIDE, AT_LEFT, AT_BOTTOM = (20, 10, 40, 30), (0, 10, 20, 30), (20, 20, 40, 40)
SIDES = {
    "unknown": None,
    "whole": (),
    "left": ("left",),
    "bottom": ("bottom",),
    "corner": ("left", "bottom"),
}


def records(colour=(5, 0, 250)):
    """Square cut-outs of 20 px that differ in what is known of their truncation; a wide one and a small one."""
    made = [CutoutRecord(name, "car", disc(colour), truncated=sides) for name, sides in SIDES.items()]
    made.append(CutoutRecord("wide", "car", disc(colour, 42, 20), truncated=()))
    return [*made, CutoutRecord("small", "car", disc(colour, 12, 12), truncated=())]


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    path = tmp_path_factory.mktemp("rules") / "g"
    build_from(records(), path, FakeExperts())
    with ForegroundSearch.open(path, FakeExperts()) as opened:
        yield opened


def found(search, box, **limits):
    return {
        hit.id for hit in search.instances(photo(), box, "car", k=99, filters=Filters(**limits)) if not hit.is_mirrored
    }


def test_a_truncated_cutout_comes_only_where_the_rectangle_touches_that_side(search):
    assert found(search, INSIDE) == {"unknown", "whole"}
    assert found(search, AT_LEFT) == {"unknown", "whole", "left"}
    assert found(search, AT_BOTTOM) == {"unknown", "whole", "bottom"}
    assert found(search, (0, 20, 20, 40)) == set(SIDES)
    assert found(search, INSIDE, any_truncation=True) == set(SIDES)


def test_shape_and_enlargement(search):
    assert "wide" in found(search, INSIDE, aspect_tolerance=2.2)
    assert "wide" not in found(search, INSIDE)
    assert "wide" in found(search, INSIDE, aspect_tolerance=np.inf)
    assert "small" in found(search, INSIDE, max_upscale=2)
    assert "small" not in found(search, INSIDE)
    assert "small" in found(search, INSIDE, max_upscale=np.inf)
    assert found(search, INSIDE, max_upscale=np.inf, aspect_tolerance=np.inf, any_truncation=True) == {
        *SIDES,
        "wide",
        "small",
    }


def test_sides_of_mirrored_cutouts_are_swapped(search):
    rows = search.gallery.category("car", mirror=True)
    ids = rows.gallery.column("id", rows.rows)

    def allowed(box):
        passes = Filters(any_truncation=False).allowed(rows, Place(box, 60, 40)) & np.isin(ids, list(SIDES))
        return [set(ids[passes & (rows.is_mirrored == mirrored)]) for mirrored in (False, True)]

    assert allowed((40, 10, 60, 30)) == [{"unknown", "whole"}, {"unknown", "whole", "left"}]  # at the right
    assert allowed(AT_LEFT) == [{"unknown", "whole", "left"}, {"unknown", "whole"}]
    assert allowed(AT_BOTTOM) == [{"unknown", "whole", "bottom"}] * 2


@pytest.mark.parametrize("level", ["patterns", "overview"])
def test_every_level_keeps_to_the_rules(search, level):
    (group,) = getattr(search, level)(photo(5, 250), INSIDE, "car")
    assert {hit.id for hit in group.hits} == {"unknown", "whole"}
    assert group.size == 2
    (group,) = getattr(search, level)(photo(5, 250), INSIDE, "car", filters=Filters(any_truncation=True))
    assert {hit.id for hit in group.hits} == set(SIDES)


def test_bundles_without_experts_demand_nothing_unless_asked(tmp_path):
    build_from(records(), tmp_path / "g", FakeBundle())
    with ForegroundSearch.open(tmp_path / "g", FakeBundle()) as search:
        assert len(found(search, INSIDE)) == 7
        assert found(search, INSIDE, any_truncation=False) == {"unknown", "whole", "wide", "small"}
        assert found(search, INSIDE, aspect_tolerance=2) == {*SIDES, "small"}


def test_what_refused_how_many_and_how_to_relax_it(search):
    filters = Filters(licences=[])
    assert search.instances(photo(), INSIDE, "car", filters=filters) == []
    assert search.why_few(photo(), INSIDE, "car", filters=filters) == (
        "of 7 foregrounds of car, refused: 7 of another licence (another --licence relaxes that), 3 cut off at a side "
        "of their photograph that the rectangle does not touch (--any_truncation relaxes that), 1 of a width / height "
        "that differs by more than 2 times (--aspect_tolerance=any relaxes that), 1 to be enlarged more than 1.5 times "
        "(--max_upscale=any relaxes that)"
    )
    relaxed = Filters(max_upscale=np.inf, aspect_tolerance=np.inf, any_truncation=True)
    assert search.why_few(photo(), INSIDE, "car", filters=relaxed) == ""
    assert search.why_few(photo(), INSIDE, "chair") == ""
    assert "7 of another pattern" in search.why_few(photo(), INSIDE, "car", pattern=0)


@pytest.mark.parametrize(
    ("limits", "message"),
    [({"max_upscale": float("nan")}, "max_upscale: got nan"), ({"aspect_tolerance": 0.9}, "aspect_tolerance: got 0.9")],
)
def test_limits_that_make_no_sense(limits, message):
    with pytest.raises(InputError, match=message):
        Filters(**limits)


def test_limits_of_flags():
    assert parse_limit(None, where="--x") is None
    assert parse_limit("1.5", where="--x") == 1.5
    assert parse_limit("any", where="--x") == parse_limit("0", where="--x") == np.inf
    with pytest.raises(InputError, match="--x: got 'much', expected a number or any"):
        parse_limit("much", where="--x")


# Words


def test_reasons_say_how_the_cutout_meets_the_demands(search):
    hits = {hit.id: hit for hit in search.instances(photo(), AT_LEFT, "car", filters=Filters(max_upscale=9))}
    assert hits["left"].why.endswith(
        "The cut-out: cut at the left as the rectangle is by the picture's edge, width / height 1.00 times the "
        "rectangle's, shrunk to 1.00."
    )
    assert "whole in its photograph" in hits["small"].why
    assert hits["small"].why.endswith("enlarged 1.67 times.")
    assert "not known whether its photograph cut it" in hits["unknown"].why
    relaxed = search.instances(photo(), INSIDE, "car", filters=Filters(any_truncation=True))
    corner = next(hit for hit in relaxed if hit.id == "corner")
    assert "cut at the left and bottom, but the rectangle does not touch the picture's left and bottom" in corner.why


def test_a_sentence_by_hand():
    got = fit_sentence(30, 10, (), Place((0, 0, 20, 20), 100, 100))
    assert got == "The cut-out: whole in its photograph, width / height 3.00 times the rectangle's, shrunk to 0.67."


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((10, 10, 20, 60), "a tall rectangle that touches no side"),
        ((0, 60, 80, 100), "a large wide rectangle that touches the left and bottom"),
        ((0, 0, 100, 100), "a large squarish rectangle that touches the left, top, right and bottom"),
        ((50, 98, 55, 100), "a small wide rectangle that touches the bottom"),
    ],
)
def test_rectangles_in_words(box, words):
    assert rectangle_phrase(Place(box, 100, 100)) == words


def test_touched_sides():
    assert touched_sides((2, 3, 98, 97), 100, 100) == ("left", "right")
    assert touched_sides((10, 10, 990, 390), 1000, 400) == ("left", "top", "right", "bottom")  # 1 % of the longer side
    assert touched_sides((11, 11, 989, 389), 1000, 400) == ()


def test_mirrored_sides():
    assert mirrored_sides(("left", "bottom")) == ("right", "bottom")
    assert mirrored_sides(()) == ()
    assert mirrored_sides(None) is None


# The programs

_PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from fake_bundle import FakeExperts
import fos_jax.encoders.bundle
fos_jax.encoders.bundle.load_bundle = lambda path: FakeExperts()
from fos_jax.program import run_program
from fos_jax.launch import {name}
sys.argv = {arguments!r}
run_program({name}.main)
"""


def run(name, *arguments):
    tests = str(Path(__file__).parents[1] / "gallery")
    code = _PROGRAM.format(tests=tests, name=name, arguments=[name, *map(str, arguments)])
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_the_programs(tmp_path):
    """A folder of cars, and of lamps, which the bundle has no patterns for: build, search, relax, mirror, fail."""
    for category, colour in (("car", (5, 0, 250)), ("lamp", (200, 200, 0))):
        (tmp_path / "in" / category).mkdir(parents=True)
        Image.fromarray(disc(colour, 42, 20)).save(tmp_path / "in" / category / "a.png")
    Image.fromarray(photo()).save(tmp_path / "photo.png")
    built = run("gallery_build", "--bundle=b", f"--cutouts={tmp_path / 'in'}", f"--output={tmp_path / 'g'}")
    assert built.returncode == 0, built.stderr
    assert "no patterns are known for lamp: searches rank them by appearance and geometry" in built.stdout
    query = (f"--gallery={tmp_path / 'g'}", "--bundle=b", f"--photo={tmp_path / 'photo.png'}", "--box=20,10,40,30")

    nothing = run("search", *query, "--category=car")
    assert nothing.returncode == 0, nothing.stderr
    assert nothing.stdout == (
        "nothing found\nof 1 foregrounds of car, refused: 1 of a width / height that differs by more than 2 times "
        "(--aspect_tolerance=any relaxes that)\n"
    )
    flags = ("--aspect_tolerance=any", "--geometry_weight=2", "--mirror", "--json", f"--why={tmp_path / 'why.png'}")
    hits = json.loads(run("search", *query, "--category=car", *flags).stdout)["hits"]
    assert [hit["id"] for hit in hits] == ["car/a.png"]  # plain or mirrored, the better one
    assert hits[0]["parts"]["geometry"] == pytest.approx(2 * np.cos(2 * (np.arctan2(42, 20) - np.pi / 4)), abs=1e-5)
    assert hits[0]["score"] == pytest.approx(sum(hits[0]["parts"].values()), rel=1e-5)
    assert read_image(tmp_path / "why.png").shape == (40, 60, 3)
    lamp = run("search", *query, "--category=lamp", "--aspect_tolerance=0", f"--why={tmp_path / 'lamp.png'}")
    assert lamp.returncode == 0, lamp.stderr
    assert "no patterns are known for lamp" in lamp.stdout
    assert read_image(tmp_path / "lamp.png").shape == (40, 60, 3)

    wrong = run("search", *query, "--category=car", "--geometry_weight=nan")
    assert wrong.returncode == 2
    assert wrong.stderr.splitlines()[-1] == "error: weights: geometry is nan, expected a finite number of 0 or more"


def test_a_gallery_from_the_output_of_fos_cutouts(coco_folder, tmp_path):
    path, images = coco_folder(photographs=2)
    source = {"kind": "coco", "annotations": str(path), "images": str(images)}
    extract(tmp_path / "out", source, default_config(), progress=False)
    flags = ("--bundle=b", f"--cutouts={tmp_path / 'out'}", f"--output={tmp_path / 'g'}")
    built = run("gallery_build", *flags)
    assert built.returncode == 0, built.stderr
    assert "4 foregrounds (2 car, 2 boat)" in built.stdout
    with ForegroundSearch.open(tmp_path / "g", FakeExperts()) as search:
        assert set(search.gallery.column("licence")) == {"CC BY"}
        assert set(search.gallery.column("truncated")) == {""}
        assert search.gallery.categories == ("car", "chair", "boat")
    refused = run("gallery_build", *flags, "--reference")
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith("error: --reference: cut-outs of fos cutouts lie in shards")


def test_a_hit_can_be_copied(search):
    hit = search.instances(photo(), INSIDE, "car", k=1)[0]
    assert dataclasses.replace(hit, rank=3).rank == 3
