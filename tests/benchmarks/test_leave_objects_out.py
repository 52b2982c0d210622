"""The ETH-80 benchmark on stand-in arrays: who may be asked about whom, and what is held out."""

import eth80
import leave_objects_out
import numpy as np
import pytest

from fos_jax.patterns.proposal_report import viewpoint_bins


def test_precision_leaves_the_own_object_out():
    """Five cars (objects a, a, b, b, c; views 0, 1, 0, 1, 0) and a dog, with scores whose ranking is plain.

    Query 0 (a, view 0) may see 2, 3, 4; scores .2, .9, .5 rank 3, 4, 2; relevant 4 and 2: (1/2 + 2/3) / 2 = 7/12.
    Its own object's other picture scores highest, and so does the dog: neither counts.
    Query 1 (a, view 1) sees 2, 3, 4, all alike; relevant 3, expected over ties: (1 + 1/2 + 1/3) / 3 = 11/18.
    Query 5, the only dog, has nothing to find.
    """
    scores = np.zeros((6, 6))
    scores[0] = [9, 8, 0.2, 0.9, 0.5, 7]
    category = np.array(["car"] * 5 + ["dog"])
    objects = np.array(["a", "a", "b", "b", "c", "d"])
    viewpoint = np.array([0, 1, 0, 1, 0, 0])
    found = leave_objects_out.precision_among_other_objects(scores, category, objects, viewpoint)
    np.testing.assert_allclose(found[[0, 1]], [7 / 12, 11 / 18], atol=1e-12)
    assert np.isnan(found[5])


def test_splits_share_no_object_and_never_test_what_tuning_saw():
    objects = np.repeat([f"{name}{i}" for name in ("car", "cow") for i in range(7)], 3)
    category = np.array([name[:3] for name in objects])
    tested, validated = [], []
    for split in range(eth80.SPLITS):
        part = eth80.split_objects(category, objects, split)
        of = {name: set(objects[part == name]) for name in ("train", "validation", "test")}
        for name in ("car", "cow"):
            counts = {key: sum(entry.startswith(name) for entry in values) for key, values in of.items()}
            assert counts == {"train": 4, "validation": 1, "test": 2}
        assert sum(map(len, of.values())) == len(set.union(*of.values())) == 14
        tested.append(of["test"])
        validated.append(of["validation"])
    assert sum(map(len, tested)) == len(set.union(*tested))
    assert len({frozenset(entry) for entry in validated}) == 1
    assert not validated[0] & set.union(*tested)


def test_too_few_objects_are_refused():
    with pytest.raises(ValueError, match="car: 6 objects, expected at least 7"):
        eth80.split_objects(np.array(["car"] * 6), np.arange(6).astype(str), 0)


def test_mirrored_viewpoints():
    """Side becomes the other side, front and back stay, and two mirrorings are none; the top view has no mirror."""
    table = eth80.viewpoint_table(["car", "cow"])
    bins = viewpoint_bins(
        [{"polar_deg": 90, "azimuth_deg": a} for a in (0, 45, 90, 225, 270)] + [{"polar_deg": 0, "azimuth_deg": 0}]
    )
    mirrored = viewpoint_bins([{"polar_deg": 90, "azimuth_deg": a} for a in (180, 135, 90, 315, 270)])
    np.testing.assert_array_equal(table.mirror[bins], [*mirrored, -1])
    np.testing.assert_array_equal(table.mirror[25 + bins[:-1]], 25 + mirrored)
    has_mirror = np.flatnonzero(table.mirror >= 0)
    np.testing.assert_array_equal(table.mirror[table.mirror[has_mirror]], has_mirror)
    assert table.patterns[25 + bins[1]].description == "cow, level, azimuth 45"


def test_deformed_cutouts_keep_colour_and_fit_the_canvas():
    """A red block, its hidden pixels green: deformed it is as large, red, and clear of every side."""
    picture = np.zeros((40, 60, 4), np.uint8)
    picture[..., 1] = 255
    picture[5:35, 5:55] = (200, 0, 0, 255)
    for seed in range(5):
        found = leave_objects_out.deformed(picture, np.random.default_rng(seed))
        solid = found[..., 3] == 255
        np.testing.assert_allclose(solid.sum(), 30 * 50, rtol=0.12)
        np.testing.assert_array_equal(np.unique(found[solid], axis=0), [[200, 0, 0, 255]])
        edge = np.concatenate([found[0], found[-1], found[:, 0], found[:, -1]])
        assert not edge[:, 3].any()


def test_comparison_is_paired_over_the_objects_tested_together():
    """The teacher is better by 0.1 for each of four pairs, however many queries each has."""
    split = np.array([0] * 5 + [1] + [0] * 2 + [1])
    category = np.array(["car"] * 6 + ["cow"] * 3)
    base = np.linspace(0.1, 0.8, len(split))
    base[2] = np.nan
    (line,) = leave_objects_out.compare({leave_objects_out.TEACHER: base + 0.1, "chance": base}, category, split)
    assert (line["ours"], line["against"]) == (leave_objects_out.TEACHER, "chance")
    assert (line["difference"], line["interval_95"], line["pairs_better"], line["pairs"]) == (0.1, [0.1, 0.1], 4, 4)
    assert line["verdict"] == "won"


def test_linear_rival_reads_mirrored_cutouts():
    """Descriptors that say the sector outright: trained on one side only, the other side is known by its mirror."""
    rng = np.random.default_rng(0)
    view = np.array([17, 21, 19] * 12)
    position = {17: (1.0, 0.0), 21: (-1.0, 0.0), 19: (0.0, 1.0)}
    described = np.array([position[v] for v in view]) + rng.normal(0, 0.05, (len(view), 2))
    part = np.where(np.arange(len(view)) < 18, "train", "test").astype("<U10")
    part[18:24] = "validation"
    part[(part == "train") & (view == 21)] = "test"
    data = eth80.Objects([], np.array(["car"] * len(view)), np.arange(len(view)).astype(str), view, [])
    found = leave_objects_out.linear_posterior({"gradients": described}, {"gradients": described * [-1, 1]}, data, part)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(found.argmax(axis=1), view)


def test_a_linear_head_reads_frozen_features_of_held_out_objects(monkeypatch):
    """Features that tell the viewpoint in two of five numbers: objects that training never saw are read rightly."""
    monkeypatch.setattr(leave_objects_out, "STRENGTHS", (1e-4,))
    rng = np.random.default_rng(0)
    n, views = 140, 5  # seven objects, each four times from five places of the top ring
    viewpoint, objects = 1 + np.arange(n) % views, np.repeat([f"car{i}" for i in range(7)], 20)
    angle = 2 * np.pi * viewpoint / views
    signal = np.column_stack([np.cos(angle), np.sin(angle)])
    features = np.column_stack([signal, rng.normal(size=(n, 3))]).astype(np.float32)
    data = eth80.Objects([], np.array(["car"] * n), objects, viewpoint, [])
    part = eth80.split_objects(data.category, data.object, 0)
    mirror = eth80.viewpoint_table([""]).mirror[viewpoint]
    mirrored_angle = 2 * np.pi * mirror / views
    flipped = np.column_stack([np.cos(mirrored_angle), np.sin(mirrored_angle), features[:, 2:]]).astype(np.float32)
    posterior = leave_objects_out.frozen_posterior([features], [flipped], data, part)
    np.testing.assert_allclose(posterior.sum(axis=1), 1, atol=1e-5)
    is_test = part == "test"
    assert np.isin(posterior[is_test].argmax(1), [1, 2, 3, 4, 5, *mirror]).all()
    similarity = leave_objects_out.frozen_similarity(features, data.category)
    np.testing.assert_allclose(np.diag(similarity), 1, atol=1e-5)


def test_ours_are_compared_with_every_other_ranking_whether_or_not_there_is_a_teacher():
    category, split = np.repeat(["car", "cow"], 6), np.tile([0, 1, 2], 4)
    precision = {leave_objects_out.PHOTOGRAPHS: np.full(12, 0.9), "chance": np.full(12, 0.1)}
    (line,) = leave_objects_out.compare(precision, category, split)
    assert (line["ours"], line["against"], line["verdict"]) == (leave_objects_out.PHOTOGRAPHS, "chance", "won")
    assert line["difference"] == 0.8
    both = leave_objects_out.compare(precision | {leave_objects_out.TEACHER: np.full(12, 0.5)}, category, split)
    assert [entry["ours"] for entry in both].count(leave_objects_out.TEACHER) == 2
    assert len(both) == 4
