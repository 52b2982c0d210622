"""Fewer rows and wrong labels: exactly as many as asked for, the same for teacher and student, nothing else touched."""

import dataclasses

import numpy as np
import pytest
from ml_collections import ConfigDict

from fos_jax.data.arrays import Foregrounds, Pairs, Queries
from fos_jax.data.limited import limited, share_of, with_label_noise, with_merged_patterns
from fos_jax.errors import InputError
from fos_jax.pattern_table import Pattern, PatternTable


def world(n=40):
    """Categories car (patterns 0 to 2) and dog (3 only), half of the foregrounds each; query i has foreground n-1-i."""
    table = PatternTable(
        ("car", "dog"), {}, tuple(Pattern(i, "car" if i < 3 else "dog", {}, str(i), -1, {}) for i in range(4))
    )
    category = np.arange(n, dtype=np.int32) % 2
    pattern = np.where(category == 0, np.arange(n) // 2 % 3, 3).astype(np.int32)
    foregrounds = Foregrounds(np.array([f"f{i}" for i in range(n)]), np.arange(n)[:, None], category, pattern)
    own = np.arange(n, dtype=np.int32)[::-1].copy()
    own[0] = -1
    queries = Queries(
        np.array([f"q{i}" for i in range(n)]),
        np.arange(n)[:, None],
        np.zeros((n, 4), np.float32),
        category[::-1],
        np.eye(4, dtype=bool)[pattern[::-1]],
        own,
    )
    return foregrounds, queries, table


def test_a_share_is_of_each_category_and_keeps_queries_with_their_foreground():
    foregrounds, queries, _ = world()
    few, asked = share_of(foregrounds, queries, share=0.25, seed=0)
    assert np.bincount(few.category).tolist() == [5, 5]
    assert "q0" in asked.ids  # has no foreground of its own
    for i in range(len(asked)):
        own = asked.foreground_index[i]
        number = int(asked.ids[i][1:])
        assert (number == 0) == (own < 0)
        assert own < 0 or few.ids[own] == f"f{39 - number}"
        assert asked.image[i] == number
    is_kept = set(few.ids)
    assert {q for q in queries.ids[1:] if f"f{39 - int(q[1:])}" in is_kept} == set(asked.ids) - {"q0"}


def test_smaller_shares_are_nested_and_teacher_and_student_see_the_same():
    foregrounds, queries, _ = world()
    halves, quarters = (share_of(foregrounds, None, share=share, seed=3)[0] for share in (0.5, 0.25))
    assert set(quarters.ids) < set(halves.ids)
    assert share_of(foregrounds, queries, share=0.5, seed=3)[0].ids.tolist() == halves.ids.tolist()
    assert share_of(foregrounds, None, share=0.5, seed=4)[0].ids.tolist() != halves.ids.tolist()
    assert len(share_of(foregrounds, None, share=1e-6, seed=0)[0]) == 2


@pytest.mark.parametrize(("share", "wrong"), [(0.05, 2), (0.5, 20), (1.0, 40)])
def test_noise_changes_as_many_labels_as_asked_within_the_category(share, wrong):
    foregrounds, _, table = world()
    foregrounds = dataclasses.replace(foregrounds, category=np.zeros(40, np.int32), pattern=np.arange(40) % 3)
    noisy = with_label_noise(foregrounds, table, share=share, seed=0)
    assert int((noisy.pattern != foregrounds.pattern).sum()) == wrong
    assert set(noisy.pattern) == {0, 1, 2}
    assert noisy.image is foregrounds.image


def test_noise_leaves_unknown_patterns_and_lone_ones():
    foregrounds, _, table = world()
    foregrounds = dataclasses.replace(foregrounds, pattern=np.where(np.arange(40) < 6, -1, foregrounds.pattern))
    noisy = with_label_noise(foregrounds, table, share=1.0, seed=0)
    changed = noisy.pattern != foregrounds.pattern
    assert not changed[:6].any()
    assert changed[6:].tolist() == (foregrounds.category[6:] == 0).tolist()


def test_configs_without_the_fields_and_with_their_defaults_change_nothing():
    foregrounds, queries, table = world()
    for settings in ({"size": "demo"}, {"train_share": 1.0, "label_noise": 0.0}):
        assert limited(foregrounds, queries, table, ConfigDict(settings), seed=0) == (foregrounds, queries)
    assert limited(foregrounds, queries, table, ConfigDict({"merged_attributes": ()}), seed=0) == (foregrounds, queries)
    few, _ = limited(foregrounds, None, table, ConfigDict({"train_share": 0.5, "label_noise": 1.0}), seed=0)
    clean = share_of(foregrounds, None, share=0.5, seed=0)[0]
    assert few.ids.tolist() == clean.ids.tolist()
    assert int((few.pattern != clean.pattern).sum()) == 10


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5, float("nan")])
def test_impossible_shares_are_refused(share):
    foregrounds, queries, table = world()
    with pytest.raises(InputError, match=r"data\.train_share is"):
        share_of(foregrounds, queries, share=share, seed=0)
    if share != 0:
        with pytest.raises(InputError, match=r"data\.label_noise is"):
            with_label_noise(foregrounds, table, share=share, seed=0)


def test_labels_of_pairs_are_refused():
    foregrounds, queries, _ = world()
    labelled = dataclasses.replace(queries, relevant=Pairs(np.zeros(41, np.int64), np.zeros(0, np.int32)))
    with pytest.raises(InputError, match="without labels of single pairs"):
        share_of(foregrounds, labelled, share=0.5, seed=0)


def attributed():
    """Cars by view (a mirror image changes it) and height; patterns 0 to 3 are left low, left high, right low, ...."""
    values = {"view": ("left", "right"), "height": ("low", "high")}
    pairs = [(view, height) for view in values["view"] for height in values["height"]]
    patterns = [
        Pattern(i, "car", {"view": view, "height": height}, "", (i + 2) % 4, {})
        for i, (view, height) in enumerate(pairs)
    ]
    foregrounds, queries, _ = world(8)
    zeros = np.zeros(8, np.int32)
    foregrounds = dataclasses.replace(
        foregrounds, category=zeros, pattern=np.array([0, 1, 2, 3, -1, 1, 3, 3], np.int32)
    )
    fits = np.zeros((8, 4), bool)
    fits[0, 1], fits[1, [0, 1, 3]] = True, True
    queries = dataclasses.replace(queries, category=zeros, is_compatible=fits)
    return foregrounds, queries, PatternTable(("car",), {"car": values}, tuple(patterns))


def test_merged_attributes_leave_the_first_pattern_of_those_alike():
    foregrounds, queries, table = attributed()
    merged, asked = limited(foregrounds, queries, table, ConfigDict({"merged_attributes": ("height",)}), seed=0)
    assert merged.pattern.tolist() == [0, 0, 2, 2, -1, 0, 2, 2]
    assert asked.is_compatible[:3].tolist() == [[True, False, False, False], [True, False, True, False], [False] * 4]
    assert with_merged_patterns(foregrounds, None, table, attributes=("height",))[1] is None


@pytest.mark.parametrize(
    ("attributes", "message"),
    [(("colour",), "unknown colour, expected some of height, view"), (("view",), "a mirror image keeps")],
)
def test_attributes_that_cannot_be_merged_are_refused(attributes, message):
    foregrounds, queries, table = attributed()
    with pytest.raises(InputError, match=message):
        with_merged_patterns(foregrounds, queries, table, attributes=attributes)
