"""Explanations of a query, by hand: posteriors, marginals of attributes, and what would have to differ."""

import json

import numpy as np
import pytest
from fake_bundle import FakeBundle, FakeExperts, build_from, disc, photo

from fos_jax.errors import InputError
from fos_jax.explain.differences import attribute_marginals, difference
from fos_jax.gallery.sources import CutoutRecord
from fos_jax.pattern_table import Pattern, PatternTable
from fos_jax.retrieval.search import ForegroundSearch

BOX = (10, 5, 30, 25)
VALUES = (("front", "left"), ("front", "right"), ("back", "left"), ("back", "right"))
LOG = np.log(np.array([0.5, 0.2, 0.1, 0.2]))


@pytest.fixture(scope="module")
def cars():
    """Four cars of two attributes, and boats whose patterns carry none."""
    attributes = {"car": {"yaw": ("front", "back"), "light": ("left", "right")}}
    patterns = [
        Pattern(i, "car", {"yaw": yaw, "light": light}, f"car {yaw} {light}", -1, {})
        for i, (yaw, light) in enumerate(VALUES)
    ]
    patterns += [Pattern(4 + i, "boat", {}, f"boat {i}", -1, {}) for i in range(2)]
    return PatternTable(("car", "boat"), attributes, tuple(patterns))


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    path = tmp_path_factory.mktemp("explained") / "g"
    records = [
        CutoutRecord(f"{name}{i}", name, disc((250 * (1 - i), 0, 250 * i))) for name in ("car", "lamp") for i in (0, 1)
    ]
    build_from(records, path, FakeExperts())
    with ForegroundSearch.open(path, FakeExperts()) as opened:
        yield opened


def test_marginals_by_hand(cars):
    found = attribute_marginals(LOG, cars, range(4))
    assert found["yaw"] == pytest.approx({"front": 0.7, "back": 0.3})
    assert found["light"] == pytest.approx({"left": 0.6, "right": 0.4})
    assert attribute_marginals(np.log([0.5, 0.5]), cars, [4, 5]) == {}
    assert attribute_marginals(np.zeros(0), cars, []) == {}


def test_differences_in_words(cars):
    one = difference(LOG, 0, 1, cars, np.arange(4))
    assert one.text == (
        "The next pattern, “car front right”, would win if the place spoke for lit from the right (40 %) "
        "rather than lit from the left (60 %)."
    )
    (light,) = one.attributes
    assert (light.name, light.mine, light.other) == ("light", "left", "right")
    assert (light.p_mine, light.p_other) == (pytest.approx(0.6), pytest.approx(0.4))
    both = difference(LOG, 3, 0, cars, np.arange(4))
    assert both.text == (
        "“car back right” would win over “car front left” if the place spoke for facing away (30 %) rather than facing "
        "the viewer (70 %) and for lit from the right (40 %) rather than lit from the left (60 %)."
    )
    # Facing away is the likelier on its own, and yet its pattern is the less probable.
    rare = difference(np.log([0.3, 0.0001, 0.29, 0.4099]), 0, 2, cars, np.arange(4))
    assert rare.text == (
        "The next pattern, “car back left”, would win if facing away (70 %) were as probable together with the rest as "
        "alone."
    )
    plain = difference(np.log([0.25, 0.75]), 5, 4, cars, [4, 5])
    assert plain.text == "The next pattern, “boat 0”, has 25 %, this one 75 %; no attribute tells them apart."
    assert plain.attributes == ()


def test_a_query_is_explained(search):
    red = 171 / (171 + 86)
    found = search.explain_query(photo(170, 85), BOX, "car")
    assert [pattern.description for pattern in found.patterns] == ["red car", "blue car"]
    assert [pattern.probability for pattern in found.patterns] == pytest.approx([red, 1 - red])
    assert found.attributes["colour"] == pytest.approx({"red": red, "blue": 1 - red})
    assert (found.difference.pattern, found.difference.other) == (0, 1)
    assert found.text == (
        "Most probably “red car” (67 %): colour: red 67 %. The next pattern, “blue car”, would win if the place spoke "
        "for colour: blue (33 %) rather than colour: red (67 %)."
    )
    other = search.explain_query(photo(170, 85), BOX, "car", 1, k=1)
    assert len(other.patterns) == 1
    assert (other.difference.pattern, other.difference.other) == (1, 0)
    assert other.difference.text.startswith("“blue car” would win over “red car” if")
    assert json.loads(json.dumps(found.to_json()))["difference"]["attributes"][0]["p_mine"] == pytest.approx(red)


def test_without_patterns_there_is_no_difference(search):
    found = search.explain_query(photo(), BOX, "lamp")
    assert (found.patterns, found.attributes, found.difference) == ((), {}, None)
    assert found.text == "No patterns are known for lamp."


def test_patterns_by_attributes(search):
    def found(category="car", **attributes):
        return [g.description for g in search.patterns(photo(170, 85), BOX, category, k=5, attributes=attributes)]

    assert found() == ["red car", "blue car"]
    assert found(colour="blue") == ["blue car"]
    for category, attributes, message in (
        ("car", {"yaw": "left"}, "attributes: car has no 'yaw', expected colour"),
        ("car", {"colour": "green"}, "attributes: colour is 'green', expected one of red, blue"),
        ("lamp", {"colour": "red"}, "attributes: lamp has no 'colour', expected none"),
    ):
        with pytest.raises(InputError, match=message):
            found(category, **attributes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pattern": 2}, "pattern: got 2, expected one of car's: 0 to 1"),
        ({"k": 0}, "k: got 0"),
        ({"category": ""}, "category"),
        ({"box": (0, 0, 0, 0)}, "box"),
    ],
)
def test_unusable_questions(search, options, message):
    with pytest.raises(InputError, match=message):
        search.explain_query(**{"photo": photo(), "box": BOX, "category": "car"} | options)


def test_a_bundle_without_experts_is_explained_too(tmp_path):
    build_from([CutoutRecord("car0", "car", disc((9, 0, 200)))], tmp_path / "g", FakeBundle())
    with ForegroundSearch.open(tmp_path / "g", FakeBundle()) as search:
        assert search.explain_query(photo(), BOX, "chair").patterns[0].description == "red chair"
