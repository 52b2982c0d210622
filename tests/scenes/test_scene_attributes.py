import numpy as np
import pytest

from fos_jax.errors import InputError
from fos_jax.pattern_table import PatternTable
from fos_jax.scenes.attributes import CATEGORIES, attribute_index, mirrored, pattern_rows, pattern_table, reverse_index


def test_number_of_patterns():
    assert {c: len(pattern_rows(c)) for c in CATEGORIES} == {
        "car": 32, "chair": 32, "person": 28, "boat": 32, "bottle": 20, "potted_plant": 16, "dog": 28, "truck": 32,
    }  # fmt: skip


def test_mirror_by_hand():
    assert mirrored({"yaw": "front_left", "elevation": "low", "light": "right"}) == {
        "yaw": "front_right", "elevation": "low", "light": "left",
    }  # fmt: skip
    assert mirrored({"pose": "lying_back_left"}) == {"pose": "lying_back_right"}
    assert mirrored({"pose": "upright"}) == {"pose": "upright"}


def test_mirror_is_an_involution_that_always_swaps_the_light():
    table = pattern_table()
    np.testing.assert_array_equal(table.mirror[table.mirror], np.arange(table.num_patterns))
    for p in table.patterns:
        other = table.patterns[p.mirror]
        assert other.category == p.category
        assert {p.attributes["light"], other.attributes["light"]} == {"left", "right"}


def test_reverse_by_hand():
    rows = pattern_rows("car")
    for i, j in enumerate(reverse_index("car")):
        assert reverse_index("car")[j] == i
    i = rows.index({"yaw": "front_right", "elevation": "high", "light": "left"})
    assert rows[reverse_index("car")[i]] == {"yaw": "back_left", "elevation": "high", "light": "left"}
    sitting = pattern_rows("person").index({"state": "sitting", "yaw": "front", "elevation": "low", "light": "left"})
    assert reverse_index("person")[sitting] == sitting  # nobody sits facing away


def test_table_survives_json_and_subsets_count_from_zero():
    table = pattern_table(["boat", "bottle"], counts={("bottle", 0): {"train": 3}})
    again = PatternTable.from_json(table.to_json())
    assert again.fingerprint() == table.fingerprint()
    assert [p.id for p in again.patterns] == list(range(52))
    assert again.patterns[32].counts == {"train": 3}
    assert table.patterns[0].description == "boat, afloat, facing the viewer, seen from low, lit from the left"


def test_attribute_index():
    index = attribute_index("bottle")
    assert index["pose"].max() == 4
    assert sorted(set(index["light"].tolist())) == [0, 1]


def test_unknown_category_names_the_known():
    with pytest.raises(InputError, match="unknown 'tank', expected one of car, chair"):
        pattern_rows("tank")
