import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fos_jax.errors import InputError
from fos_jax.patterns.grouping import METHODS, OUTLIER, combine, default_config, group_rows
from fos_jax.patterns.proposal_report import measure_agreement, purity, viewpoint_bins, worst_groups
from fos_jax.patterns.proposals import propose, read_proposals, write_proposals


def _blobs(*, centres=6, members=12, spread=0.02, strangers=0, seed=0):
    rng = np.random.default_rng(seed)
    middle = np.eye(centres, 8)
    points = np.repeat(middle, members, axis=0) + rng.normal(0, spread, (centres * members, 8))
    odd = rng.normal(0, 3, (strangers, 8))
    return np.concatenate([points, odd]).astype(np.float32), np.repeat(np.arange(centres), members)


def _config(**changes):
    config = default_config()
    for name, value in changes.items():
        config[name] = value
    return config


@pytest.mark.parametrize("method", METHODS)
def test_groups_are_pure_and_more_than_there_are(method):
    features, truth = _blobs()
    found = group_rows(features, _config(method=method))
    inside = found.group != OUTLIER
    assert inside.mean() > 0.5  # leaves of HDBSCAN leave much out
    assert purity(found.group[inside], truth[inside]) == 1
    numbers = np.unique(found.group[inside])
    assert numbers.tolist() == list(range(len(numbers)))
    assert len(numbers) >= 6
    assert np.bincount(found.group[inside]).min() >= 2
    assert ((found.confidence >= 0) & (found.confidence <= 1)).all()


@pytest.mark.parametrize("method", METHODS)
def test_strangers_are_outliers_without_confidence(method):
    features, _ = _blobs(strangers=3)
    found = group_rows(features, _config(method=method))
    assert found.group[-3:].tolist() == [OUTLIER] * 3
    assert not found.confidence[found.group == OUTLIER].any()


def test_confidence_by_hand():
    # two groups with centres at 0 and 10: a member at 1 is 1 from its own and 9 from the other
    features = np.array([[-1], [1], [0], [9], [10], [11]], np.float32)
    found = group_rows(features, _config(members_per_group=3.0, max_outlier_factor=9.0))
    np.testing.assert_allclose(found.confidence, [10 / 11, 8 / 9, 1, 8 / 9, 1, 10 / 11], atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 7])
def test_few_rows_and_equal_rows(method, n):
    for features in (np.zeros((n, 4), np.float32), np.eye(7, 4, dtype=np.float32)[:n]):
        found = group_rows(features, _config(method=method))
        assert found.group.shape == found.confidence.shape == (n,)
        assert np.isfinite(found.confidence).all()


def test_unknown_method_and_size():
    with pytest.raises(InputError, match="method"):
        group_rows(np.zeros((5, 2), np.float32), _config(method="magic"))
    with pytest.raises(InputError, match="members_per_group"):
        group_rows(np.zeros((5, 2), np.float32), _config(members_per_group=0.5))


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.integers(2, 30))
def test_each_block_weighs_what_it_is_given(seed, width):
    rng = np.random.default_rng(seed)
    blocks = {"embedding": rng.normal(3, 9, (20, width)), "truncation": rng.integers(0, 2, (20, 4)).astype(float)}
    blocks["truncation"][:2] = [[0, 0, 0, 0], [1, 1, 1, 1]]
    features = combine(blocks, {"embedding": 1.0, "truncation": 0.5}, components=99)
    np.testing.assert_allclose(np.mean(np.sum(features**2, axis=1)), 1 + 0.25, rtol=1e-3)


def test_unknown_rows_lie_at_the_centre():
    block = np.array([[1.0, 2], [3, 4], [np.nan, np.nan]])
    features = combine({"keypoints": block}, {"keypoints": 1.0}, components=9)
    np.testing.assert_allclose(features[2], 0, atol=1e-6)
    assert not combine({"keypoints": block * np.nan}, {"keypoints": 1.0}, components=9).any()


def _proposals():
    features, truth = _blobs(centres=4, members=8)
    categories = ["car"] * 16 + ["boat"] * 16
    ids = [f"i{index}" for index in range(32)]
    return propose(ids, categories, {"embedding": features}, _config(), cutouts="abc"), truth


def test_proposals_never_span_categories_and_survive_the_disk(tmp_path):
    proposals, truth = _proposals()
    path = tmp_path / "proposals.parquet"
    write_proposals(path, proposals)
    again = read_proposals(path)
    assert again.cutout_ids == proposals.cutout_ids
    np.testing.assert_array_equal(again.group, proposals.group)
    np.testing.assert_array_equal(again.confidence, proposals.confidence)
    assert (again.cutouts, again.config["method"], again.config["blocks"]) == ("abc", "agglomerative", ["embedding"])
    for entry in again.groups():
        members = np.flatnonzero(again.group == entry["group"])
        assert {again.categories[i] for i in members} == {entry["category"]}
        assert entry["size"] == len(members)
        assert again.confidence[again.cutout_ids.index(entry["representatives"][0])] == again.confidence[members].max()
    assert sum(entry["size"] for entry in again.groups()) + (again.group == OUTLIER).sum() == 32
    assert [path.name for path in tmp_path.iterdir()] == ["proposals.parquet"]
    assert purity(again.group[again.group >= 0], truth[again.group >= 0]) == 1


def test_files_that_are_no_proposals(tmp_path):
    path = tmp_path / "p.parquet"
    path.write_bytes(b"PAR1 nothing")
    with pytest.raises(InputError, match="cannot be read"):
        read_proposals(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_proposals(tmp_path / "none.parquet")
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(InputError, match="not a file of proposals"):
        read_proposals(path)
    proposals, _ = _proposals()
    write_proposals(path, proposals)
    table = pq.read_table(path)
    pq.write_table(pa.concat_tables([table, table]), path)
    with pytest.raises(InputError, match="twice"):
        read_proposals(path)
    mixed = table.set_column(2, table.schema.field("group"), pa.array(np.zeros(32, np.int64)))
    pq.write_table(mixed, path)
    with pytest.raises(InputError, match="two categories"):
        read_proposals(path)


def test_purity_by_hand():
    # groups {a a b} {b b} {a}: 2 + 2 + 1 of 6
    assert purity(np.array([0, 0, 0, 1, 1, 2]), np.array([5, 5, 7, 7, 7, 5])) == pytest.approx(5 / 6)
    assert purity(np.zeros(0), np.zeros(0)) == 0


def test_agreement_by_hand():
    categories = ["car"] * 4 + ["boat"] * 3
    group = np.array([0, 0, 1, 1, 2, 2, OUTLIER])
    result = measure_agreement(categories, group, np.array([0, 0, 1, 1, 0, 1, 1]))
    assert result["car"]["purity"] == result["car"]["ari"] == result["car"]["nmi"] == 1
    assert (result["boat"]["purity"], result["boat"]["outliers"]) == (0.5, pytest.approx(1 / 3))
    assert result["all"]["purity"] == 0.75
    assert (result["all"]["members"], result["all"]["groups"], result["all"]["truths"]) == (7, 3, 4)
    assert measure_agreement(["car"], np.array([OUTLIER]), np.array([1]))["all"]["purity"] == 0
    assert measure_agreement([], np.zeros(0, int), np.zeros(0, int)) == {}


def test_worst_groups_by_hand():
    group = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, OUTLIER])
    truth = np.array([0, 0, 1, 2, 0, 1, 3, 3, 3, 9])
    assert worst_groups(group, truth, 2) == [(0, 0.5), (1, 0.5)]
    assert worst_groups(group, truth, 9)[-1] == (2, 1.0)


def test_viewpoint_bins_by_hand():
    rows = [
        {"polar_deg": 0, "azimuth_deg": 0},
        {"polar_deg": 0, "azimuth_deg": 200},
        {"polar_deg": 22, "azimuth_deg": 0},
        {"polar_deg": 45, "azimuth_deg": 337.6},
        {"polar_deg": 66, "azimuth_deg": 27},
        {"polar_deg": 90, "azimuth_deg": 22.4},
        {"polar_deg": 90, "azimuth_deg": 22.5},
        {"polar_deg": 90, "azimuth_deg": 338},
        {"azimuth_deg": 5},
    ]
    assert viewpoint_bins(rows).tolist() == [0, 0, 1, 1, 10, 17, 18, 17, -1]
