"""Labels spread, and what that saves a simulated annotator."""

from pathlib import Path

import numpy as np
import pytest

from fos_jax.experiments.simulation import clustered_descriptors, simulate, summary, together
from fos_jax.verification.spread import UNLABELLED, Descriptors, nearest_groups, spread_labels

ETH80 = Path(__file__).resolve().parents[3] / "shared" / "real" / "eth80"


def test_labels_spread_to_the_nearest_by_hand():
    features = np.array([[0.0, 0], [0.1, 0], [5, 0], [5.1, 0], [2.5, 0.1]], np.float32)
    found = spread_labels(features, np.array([7, -1, 9, -1, -1]))
    assert found.label[:4].tolist() == [7, 7, 9, 9]
    assert found.certainty[[0, 2]].tolist() == [1, 1]
    assert found.certainty.argmin() == 4  # half way
    assert spread_labels(features, np.full(5, UNLABELLED)) is None
    alone = spread_labels(features, np.array([-1, -1, 3, -1, -1]))
    assert alone.label.tolist() == [3] * 5


def test_identical_descriptors_are_no_trouble():
    found = spread_labels(np.zeros((6, 3), np.float32), np.array([0, 1, -1, -1, -1, -1]))
    assert np.isfinite(found.certainty).all()
    assert found.label[:2].tolist() == [0, 1]


def test_nearest_groups():
    centres = np.array([[0.0], [10], [1], [4]])
    assert nearest_groups(centres, 0, 2) == [2, 3]
    assert nearest_groups(centres, 1, 9) == [3, 2, 0]


def test_features_keep_categories_apart():
    blocks = {"shape": np.array([[0.0, 1], [2, 3], [4, 5]], np.float32)}
    features = Descriptors.combined(["b", "a", "b"], blocks)
    assert {category: rows.tolist() for category, rows in features.rows.items()} == {"a": [1], "b": [0, 2]}
    assert features.values["b"].shape[0] == 2


def test_one_group_a_pattern_costs_one_action_each():
    features, truth = clustered_descriptors(patterns=4, members=10, spread=0.01)
    found = simulate(features, truth, truth, purity=1.0)
    # the last pattern has to be shown too: nothing spreads to a pattern that was never named
    assert (found.actions, found.one_by_one, found.patterns) == (4, 40, 4)
    assert found.times_fewer == 10
    assert found.curve[-1] == (4, 1.0)


def test_marking_the_odd_ones_is_counted():
    features = np.zeros((5, 2), np.float32)
    features[3:, 0] = 9
    truth = np.array([0, 0, 0, 1, 1])
    found = simulate(features, np.zeros(5, int), truth, purity=1.0)
    # two marked + one decision, then one of the two alone; the other follows by spreading
    assert found.actions == 3 + 1
    assert summary(together([found, found]))["actions"] == 8


def test_small_patterns_need_not_be_named():
    """Of 50, 30, 15 and 5 the three largest hold 95 of 100: the bound is three actions, and the annotator meets it."""
    truth = np.repeat([0, 1, 2, 3], [50, 30, 15, 5])
    features = 20 * np.eye(4, dtype=np.float32)[truth]
    found = simulate(features, truth, truth, purity=0.95)
    assert (found.patterns, found.fewest_actions, found.actions, found.one_by_one) == (4, 3, 3, 95)
    assert summary(found)["times_fewer_at_best"] == round(95 / 3, 2) == summary(found)["times_fewer"]
    assert simulate(features, truth, truth, purity=0.96).fewest_actions == 4


def test_ten_times_fewer_actions_on_a_synthetic_set():
    from fos_jax.patterns.grouping import default_config, group_rows

    features, truth = clustered_descriptors(patterns=12, members=40, spread=0.9, seed=3)
    found = simulate(features, group_rows(features, default_config()).group, truth)
    assert found.curve[-1][1] >= 0.95
    assert found.times_fewer >= 10, summary(found)


def test_it_ends_where_descriptors_say_nothing():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 3, 40)
    found = simulate(generator.normal(size=(40, 4)).astype(np.float32), generator.integers(0, 5, 40), truth, purity=1.0)
    assert found.curve[-1][1] == 1.0
    assert found.actions <= 40 + found.shown  # never worse than marking everything that was shown


@pytest.mark.skipif(not ETH80.is_dir(), reason=f"{ETH80} is not there")
def test_fewer_actions_on_eth80(tmp_path):
    """One category, by elevation: the truth with few patterns and many members, where groups can save anything."""
    from fos_jax.cutouts.cutout_set import CutoutSet
    from fos_jax.cutouts.extraction import extract
    from fos_jax.cutouts.filters import config_with
    from fos_jax.patterns.descriptors import describe
    from fos_jax.patterns.grouping import default_config
    from fos_jax.patterns.proposal_report import viewpoint_bins
    from fos_jax.patterns.proposals import propose

    source = {"kind": "coco", "annotations": str(ETH80 / "instances.json"), "images": str(ETH80 / "images")}
    source |= {"categories": ["car"], "licence": "", "skip_defects": False}
    extract(tmp_path / "cars", source, config_with({}), photographs_per_shard=100, runner="in_process")
    cutouts = CutoutSet(tmp_path / "cars")
    blocks = describe(cutouts, ["gradients", "shape"], progress=False)
    categories = cutouts.column("category")
    proposed = propose(cutouts.column("id"), categories, blocks, default_config()).group
    ring = np.maximum(viewpoint_bins(cutouts.attributes()) + 7, 0) // 8
    found = simulate(Descriptors.combined(categories, blocks).values["car"], proposed, ring)
    assert found.patterns == 4
    assert found.times_fewer > 1.5, summary(found)
