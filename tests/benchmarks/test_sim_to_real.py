"""From ETH-80's angles to views by hand, and the rankings on encoders whose answers are known."""

import types

import numpy as np
import pytest
import sim_to_real

from fos_jax.data.arrays import Queries
from fos_jax.scenes.attributes import pattern_table

TABLE = pattern_table(("dog", "car"))


def test_views_are_patterns_without_the_light():
    views = sim_to_real.views_of(TABLE, "car")
    assert len(views.names) == 16
    assert views.of_pattern.shape == (32, 16)
    assert (views.of_pattern.sum(axis=0) == 2).all()
    left, right = (TABLE.patterns[p].attributes for p in views.patterns[views.of_pattern[:, 5]])
    assert {**left, "light": "right"} == right
    assert left["light"] == "left"


@pytest.mark.parametrize(
    ("polar", "azimuth", "yaw", "elevation"),
    [
        (90, 0, "right", "low"),
        (90, 45, "front_right", "low"),
        (90, 90, "front", "low"),
        (90, 180, "left", "low"),
        (90, 270, "back", "low"),
        (90, 338, None, None),  # half-way between right and back right
        (45, 90, "front", "high"),
        (35, 225, "back_left", "high"),
        (68, 90, None, None),
    ],
)
def test_a_cars_angles(polar, azimuth, yaw, elevation):
    views = sim_to_real.views_of(TABLE, "car")
    found = sim_to_real.real_view(views, polar, azimuth)
    expected = sim_to_real.LEFT_OUT if yaw is None else views.names.index({"yaw": yaw, "elevation": elevation})
    assert found == expected


def test_what_is_seen_from_above_fits_nothing_and_dogs_stand():
    cars, dogs = (sim_to_real.views_of(TABLE, name) for name in ("car", "dog"))
    assert sim_to_real.real_view(cars, 0, 0) == sim_to_real.real_view(cars, 22, 90) == sim_to_real.NOTHING
    assert dogs.names[sim_to_real.real_view(dogs, 90, 112)] == {"state": "standing", "yaw": "front", "elevation": "low"}
    assert sim_to_real.real_view(dogs, 90, 45) == sim_to_real.LEFT_OUT


def test_rankings_by_view_leave_the_light_aside():
    """One car query that faces front, low, lit from the left; cut-outs: that view lit from either side, another view,
    and one that fits nothing. The encoders name the patterns 0, 1, 4, 4 with certainty.
    """
    views = sim_to_real.views_of(TABLE, "car")
    first = views.patterns[0]
    is_compatible = np.zeros((1, TABLE.num_patterns), bool)
    is_compatible[0, first] = True

    def log_posterior(patterns):
        with np.errstate(divide="ignore"):
            return np.log(np.eye(TABLE.num_patterns)[first + np.array(patterns)])

    def encode_foregrounds(image, category):
        patterns = [0, 1, 4, 4] if len(image) == 4 else [1]
        return types.SimpleNamespace(embedding=np.eye(8)[patterns], log_posterior=log_posterior(patterns))

    def encode_queries(image, box, category):
        return types.SimpleNamespace(embedding=np.eye(8)[[0]], log_posterior_both=log_posterior([0]))

    bundle = types.SimpleNamespace(encode_foregrounds=encode_foregrounds, encode_queries=encode_queries)
    box, ids = np.float32([[0.2, 0.2, 0.6, 0.6]]), np.array(["q"])
    queries = Queries(ids, np.zeros((1, 8, 8, 3), np.uint8), box, np.array([1]), is_compatible, np.array([0]))
    image = np.full((4, 8, 8, 4), 255, np.uint8)
    gallery = sim_to_real.Gallery("real", image, np.array([0, 0, 2, sim_to_real.NOTHING]))
    scores, relevant, named = sim_to_real.rankings({"student": bundle}, queries, image[:1], gallery, views)
    assert relevant.tolist() == [[True, True, False, False]]
    assert scores["student, posterior"].tolist() == [[1, 0, 0, 0]]
    assert scores["student, view"].tolist() == [[1, 1, 0, 0]]
    assert scores["own foreground, cosine"].tolist() == [[0, 1, 0, 0]]
    assert scores["own foreground, view"].tolist() == scores["true view"].tolist() == [[1, 1, 0, 0]]
    assert scores["shape"].tolist() == [[1, 1, 1, 1]]
    lines = []
    precision = sim_to_real.report_gallery("car", gallery, scores, relevant, lines.append)
    assert precision["student, view"].tolist() == [1.0]

    assert [line["ranking"] for line in lines] == list(scores)
    right = sim_to_real.named_rightly(views, gallery, named["student"])
    assert right["view"] == right["yaw"] == right["elevation"] == 1.0


def test_what_is_named_rightly_by_hand():
    """Front low is named front low, back low, front high and right low: half the yaws, three of four but for turns."""
    views = sim_to_real.views_of(TABLE, "car")
    said = [("front", "low"), ("back", "low"), ("front", "high"), ("right", "low")]
    columns = [views.names.index({"yaw": y, "elevation": e}) for y, e in said]
    gallery = sim_to_real.Gallery("real", np.zeros((4, 8, 8, 4), np.uint8), np.full(4, columns[0]))
    right = sim_to_real.named_rightly(views, gallery, np.eye(16)[columns])
    assert right == {"view": 0.25, "yaw": 0.5, "elevation": 0.75, "yaw or its opposite": 0.75}


def test_a_rendered_gallery_has_as_many_of_each_view():
    real = sim_to_real.Gallery("real", np.zeros((5, 8, 8, 4), np.uint8), np.array([3, 3, 7, sim_to_real.NOTHING, 3]))
    image = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 4), np.uint8)
    got = sim_to_real.rendered_gallery(image, np.array([3, 7] * 6), real)
    assert got.view.tolist() == [3, 3, 3, 7]
    assert got.image[:, 0, 0, 0].tolist() == got.rows.tolist() == [0, 2, 4, 1]


def test_figures_over_seeds_by_hand():
    line = {"benchmark": "sim_to_real", "category": "car", "gallery": "real"}
    lines = [{**line, "seed": s, "ranking": "student, view", "map": value} for s, value in enumerate((0.4, 0.6))]
    lines += [{**line, "seed": s, "foreground_encoder_of": "student", "names": {"yaw": 0.5}} for s in range(2)]
    found = []
    sim_to_real.report_over_seeds(lines, found.append)
    assert [entry["num_seeds"] for entry in found] == [2, 2]
    assert (found[0]["map"], found[0]["map deviation"]) == (0.5, 0.1414)
    assert (found[1]["yaw"], found[1]["yaw deviation"]) == (0.5, 0.0)


def test_differences_are_paired_by_seed():
    """The rival is .1 behind with the first seed and .3 with the second, for every query."""
    ours = np.array([0.5, 0.7])
    precision = {
        seed: {"car": {"student, view": ours, "rival, view": ours - gap}} for seed, gap in enumerate((0.1, 0.3))
    }
    found = []
    sim_to_real.report_differences(precision, found.append)
    assert [entry["minus"] for entry in found] == ["rival, view"]
    assert found[0]["difference"] == 0.2
    assert found[0]["interval_95"] == [0.1, 0.3]
    assert found[0]["by_seed"] == {0: 0.1, 1: 0.3}
    for of in precision.values():
        of["car"]["experts, view"] = ours + 0.1
    found.clear()
    sim_to_real.report_differences(precision, found.append)
    pairs = [(line["difference_of"], line["minus"]) for line in found]
    assert ("experts, view", "student, view") in pairs
    assert ("student, view", "experts, view") in pairs
    assert len(pairs) == 4


def test_a_bundles_path_of_a_seed(tmp_path):
    (tmp_path / "seed_1" / "student-5d").mkdir(parents=True)
    pattern = f"{tmp_path}/seed_{{seed}}/student-*"
    assert sim_to_real.bundle_path(pattern, 1) == tmp_path / "seed_1" / "student-5d"
    with pytest.raises(SystemExit, match="0 folders, expected one bundle"):
        sim_to_real.bundle_path(pattern, 2)
