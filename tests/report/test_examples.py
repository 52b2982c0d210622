"""Queries for the report and what stands beside them."""

import types

import numpy as np
from PIL import Image

from fos_jax.data.arrays import Queries
from fos_jax.pattern_table import Pattern, PatternTable
from fos_jax.report.examples import fitting_values, make_example, pick_queries, truth_in_words

PAIRS = [("front", "left"), ("front", "right"), ("back", "left"), ("back", "right")]
TABLE = PatternTable(
    categories=("car",),
    attributes={"car": {"yaw": ("front", "back"), "light": ("left", "right")}},
    patterns=tuple(Pattern(i, "car", {"yaw": y, "light": s}, f"{y}, {s}", i, {}) for i, (y, s) in enumerate(PAIRS)),
)


def test_queries_are_drawn_evenly_and_by_seed_alone():
    category = np.array([0] * 30 + [1] * 5 + [2] * 1)
    rows = pick_queries(category, count=8, seed=3)
    assert len(set(rows.tolist())) == 8
    assert sorted(category[rows].tolist()) == [0, 0, 0, 0, 1, 1, 1, 2]
    assert category[rows][:3].tolist() == [0, 1, 2]
    assert rows.tolist() == pick_queries(category, count=8, seed=3).tolist()
    assert rows.tolist() != pick_queries(category, count=8, seed=4).tolist()


def test_fewer_queries_than_asked():
    assert sorted(pick_queries(np.array([1, 1]), count=5, seed=0).tolist()) == [0, 1]
    assert pick_queries(np.array([], int), count=5, seed=0).tolist() == []


def test_truth_in_words_by_hand():
    fits = np.array([True, False, True, False])  # front or back, light left
    fitting = fitting_values(fits, TABLE, "car")
    assert fitting == {"yaw": {"front", "back"}, "light": {"left"}}
    assert truth_in_words(fitting, TABLE, "car") == "yaw any; light left"


def fake_hit(name: str, pattern: int):
    cutout = np.zeros((20, 10, 4), np.uint8)
    cutout[2:18, 1:9] = [255, 0, 0, 255]
    return types.SimpleNamespace(
        id=name,
        score=0.5,
        pattern=pattern,
        why=f"{name}.",
        thumbnail=lambda: Image.fromarray(cutout),
        cutout=lambda: Image.fromarray(cutout),
    )


class FakeSearch:
    """Offers pattern 2, which fits, and pattern 1, which does not; its foreground `b` is labelled otherwise."""

    table = TABLE

    def patterns(self, photo, box, category, *, k, instances):
        self.seen = photo, box, category, k, instances
        hits = {2: [fake_hit("a", 2), fake_hit("b", 2)], 1: [fake_hit("c", 1)]}
        return [
            types.SimpleNamespace(
                id=p,
                description=TABLE.patterns[p].description,
                attributes=TABLE.patterns[p].attributes,
                probability=probability,
                hits=hits[p],
            )
            for p, probability in [(2, 0.75), (1, 0.25)]
        ]


def test_example_marks_by_truth_not_by_assignment():
    queries = Queries(
        ids=np.array(["q"]),
        image=np.full((1, 32, 32, 3), 90, np.uint8),
        box_yxyx_norm=np.array([[0.25, 0.5, 0.75, 1.0]], np.float32),
        category=np.zeros(1, np.int32),
        is_compatible=np.array([[True, False, True, False]]),
        foreground_index=np.array([-1], np.int32),
    )
    search = FakeSearch()
    example = make_example(search, queries, 0, true_pattern={"a": 2, "b": 1, "c": 0}, side_px=64)
    photo, box, *rest = search.seen
    assert photo.shape == (32, 32, 3)  # the search sees the query as it is
    assert tuple(box) == (16, 8, 32, 24)
    assert rest == ["car", 3, 6]
    assert example.truth == "yaw any; light left"
    first, second = example.rows
    assert (first.is_compatible, second.is_compatible) == (True, False)
    assert [hit.is_relevant for hit in first.hits] == [True, False]  # b was taken for pattern 2, its label is 1
    assert [hit.is_relevant for hit in second.hits] == [True]
    assert first.posterior == 0.75
    assert first.why == "a."
    assert all(hit.image.shape == (112, 112, 4) for hit in first.hits)
    # Nothing outside the rectangle changes; the red cut-out, its edge softened, lies inside it.
    assert (first.composite[:, :32] == 90).all()
    assert (first.composite[42:46, 47:49] == [255, 0, 0]).all()
