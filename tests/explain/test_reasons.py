"""Explanations: terms and marginals by hand, sentences, what must hold of any two posteriors."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fos_jax.explain.reasons import explain, pattern_reason
from fos_jax.pattern_table import Pattern, PatternTable, attribute_phrase

VALUES = {"yaw": ("left", "right"), "light_side": ("left", "right")}


def make_table() -> PatternTable:
    named = [(yaw, light) for yaw in VALUES["yaw"] for light in VALUES["light_side"]]
    patterns = [
        Pattern(i, "car", {"yaw": y, "light_side": s}, f"car facing {y}, lit from the {s}", -1, {})
        for i, (y, s) in enumerate(named)
    ]
    return PatternTable(("car", "dog"), {"car": VALUES}, (*patterns, Pattern(4, "dog", {}, "a dog", 4, {})))


def log(*probabilities):
    with np.errstate(divide="ignore"):
        return np.log(np.array(probabilities))


def test_terms_and_marginals_by_hand():
    """Score 0.5*0.8 + 0.3*0.2 = 0.46; shares 0.40 / 0.46 and 0.06 / 0.46."""
    got = explain(log(0.5, 0.3, 0.2, 0, 0), log(0.8, 0.2, 0, 0, 0), make_table())
    assert got.score == pytest.approx(0.46)
    assert got.ranking == "posterior"
    assert [term.pattern for term in got.terms] == [0, 1]
    assert [term.share for term in got.terms] == pytest.approx([0.40 / 0.46, 0.06 / 0.46])
    assert (got.terms[0].query_probability, got.terms[0].foreground_probability) == pytest.approx((0.5, 0.8))
    yaw, light = got.attributes
    assert (yaw.name, yaw.value) == ("yaw", "left")
    assert (yaw.query_probability, yaw.foreground_probability) == pytest.approx((0.8, 1.0))
    assert (light.name, light.value) == ("light_side", "left")
    assert (light.query_probability, light.foreground_probability) == pytest.approx((0.7, 0.8))


def test_text_is_one_readable_sentence():
    got = explain(log(0.5, 0.3, 0.2, 0, 0), log(0.8, 0.2, 0, 0, 0), make_table())
    assert got.text == (
        "Both are probably “car facing left, lit from the left” (87 % of the score) or “car facing left, lit from the "
        "right” (13 % of the score); this place suggests: facing left 80 %, light side: left 70 %."
    )


def test_parts_add_up_and_the_largest_comes_first():
    """Pattern 0.46 of 0.46 + 0.25 - 0.02 = 0.69."""
    got = explain(
        log(0.5, 0.3, 0.2, 0, 0),
        log(0.8, 0.2, 0, 0, 0),
        make_table(),
        experts={"appearance": -0.02, "geometry": 0.25},
        notes={"geometry": "a tall rectangle"},
        fit="It fits.",
    )
    assert got.parts == {"pattern": pytest.approx(0.46), "appearance": -0.02, "geometry": 0.25}
    assert got.score == pytest.approx(0.69)
    assert got.text.startswith("Pattern 0.46 of 0.69, geometry 0.25 (a tall rectangle), appearance -0.02. Both are")
    assert "(87 % of the pattern part)" in got.text
    assert got.text.endswith("light side: left 70 %. It fits.")


def test_of_a_category_without_patterns_experts_alone_speak():
    nothing = np.zeros(0)
    got = explain(
        nothing, nothing, make_table(), patterns=np.zeros(0, int), category="lamp", experts={"geometry": 0.25}
    )
    assert (got.score, got.terms, got.attributes, got.parts) == (0.25, (), (), {"geometry": 0.25})
    assert got.text == "Geometry 0.25 of 0.25. No patterns are known for lamp."
    with pytest.raises(ValueError, match="and a category"):
        explain(nothing, nothing, make_table(), patterns=np.zeros(0, int))


def test_without_attributes():
    got = explain(log(0, 0, 0, 0, 1), log(0, 0, 0, 0, 1), make_table())
    assert got.attributes == ()
    assert got.text == "Both are probably “a dog” (100 % of the score)."


def test_reason_of_a_pattern():
    table = make_table()
    of_cars = log(0.5, 0.3, 0.2, 0)
    assert pattern_reason(of_cars, table.patterns[0], table, np.arange(4)) == "facing left 80 %, light side: left 70 %"
    assert (
        pattern_reason(of_cars, table.patterns[3], table, np.arange(4)) == "facing right 20 %, light side: right 30 %"
    )
    assert pattern_reason(log(1), table.patterns[4], table, np.array([4])) == "a dog"


@pytest.mark.parametrize(
    ("name", "value", "phrase"),
    [
        ("yaw", "back_left", "facing back left"),
        ("yaw", "front", "facing the viewer"),
        ("elevation", "high", "seen from above"),
        ("light", "left", "lit from the left"),
        ("state", "sitting", "sitting"),
        ("body_type", "estate_car", "body type: estate car"),
    ],
)
def test_attributes_in_words(name, value, phrase):
    assert attribute_phrase(name, value) == phrase


def test_over_the_patterns_of_one_category():
    whole = explain(log(0.1, 0.2, 0.3, 0.4, 0), log(0.4, 0.3, 0.2, 0.1, 0), make_table())
    part = explain(log(0.1, 0.2, 0.3, 0.4), log(0.4, 0.3, 0.2, 0.1), make_table(), patterns=np.arange(4))
    assert part == whole


def test_cosine_is_shown_as_such():
    got = explain(log(0.5, 0.5, 0, 0, 0), log(1, 0, 0, 0, 0), make_table(), cosine=0.834)
    assert (got.score, got.ranking) == (0.834, "cosine")
    assert got.text.startswith("Cosine 0.83. Both are probably")
    assert got.terms[0].share == 1.0


def test_nothing_in_common():
    got = explain(log(1, 0, 0, 0, 0), log(0, 1, 0, 0, 0), make_table())
    assert got.score == 0
    assert got.terms[0].share == 0
    assert "No pattern is possible for both" in got.text


def test_small_shares_are_not_named_and_their_number_is_limited():
    even = explain(log(0.25, 0.25, 0.25, 0.25, 0), log(0.25, 0.25, 0.25, 0.25, 0), make_table(), max_terms=2)
    assert [term.share for term in even.terms] == pytest.approx([0.25, 0.25])
    clear = explain(log(0.96, 0.04, 0, 0, 0), log(0.96, 0.04, 0, 0, 0), make_table())
    assert len(clear.terms) == 1


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="query: posterior has shape \\(2,\\), expected \\(5,\\)"):
        explain(log(1, 0), log(1, 0), make_table())


posteriors = st.lists(st.floats(0.01, 1), min_size=4, max_size=4).map(lambda p: np.array([*p, 0]) / sum(p))


@given(posteriors, posteriors)
def test_properties(query, foreground):
    got = explain(log(*query), log(*foreground), make_table(), max_terms=5, min_share=0)
    assert got.score == pytest.approx(float(query @ foreground))
    assert sum(term.share for term in got.terms) == pytest.approx(1)
    assert [t.share for t in got.terms] == sorted((t.share for t in got.terms), reverse=True)
    for attribute in got.attributes:
        assert attribute.foreground_probability >= 0.5 - 1e-9  # the likelier of two values
    assert json.loads(json.dumps(got.as_dict()))["text"] == got.text
