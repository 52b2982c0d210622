"""Rankings by networks that judge pairs: which rows there are, how scores are looked up, and what they cost."""

import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from evaluation_world import make_split

from fos_jax.encoders.build import init_foreground, init_query
from fos_jax.encoders.bundle import Bundle
from fos_jax.evaluation.cost import encoding_cost, ranking_ms
from fos_jax.evaluation.methods import EvaluatedModel, looked_up
from fos_jax.evaluation.run import evaluate
from fos_jax.evaluation.scores import PAIR_RANKINGS
from fos_jax.evaluation.truth import Block, truth_of
from fos_jax.rivals.pair_networks import PAIR_NETWORKS, init_pair_network

sys.path.append(str(Path(__file__).parents[1] / "training"))
from tests_synthetic import BACKBONE


@pytest.fixture(scope="module")
def world():
    queries, foregrounds, table = make_split(num_queries=12, num_foregrounds=20)
    config = {
        "foreground": {"backbone": BACKBONE, "embedding_size": 16, "image_size": 32, "posterior_scale": 16.0},
        "query": {
            "backbone": BACKBONE,
            "image_size": 32,
            "posterior": "prototypes",
            "flat_scale": 1.0,
            "factorised_scale": 1.0,
        },
        "interaction": {"feature_size": 8, "hidden_size": 4, "side": 2},
        "composite": {"backbone": BACKBONE, "feature_size": 8},
    }
    key = jax.random.key(0)
    variables = {"foreground": init_foreground(key, config, table), "query": init_query(key, config, table)}
    variables |= {name: init_pair_network(name, key, config, table) for name in PAIR_NETWORKS}
    bundle = Bundle(config=config, table=table, variables=jax.device_get(variables), metrics={}, fingerprint="f")
    return bundle, queries, foregrounds, table


def test_the_names_are_those_of_the_networks():
    assert PAIR_RANKINGS == PAIR_NETWORKS


def test_scores_are_looked_up_for_any_part_of_a_block():
    whole = Block(3, np.array([2, 5, 9]), np.array([1, 4]), np.array([0]))
    table = np.array([[1, 2], [3, 4], [5, -6]], np.float32)
    ranking = looked_up({3: (whole, table)}, ranking_ms=7.0)
    part = Block(3, np.array([9, 2]), np.array([4]), np.array([0]))
    np.testing.assert_array_equal(ranking.foregrounds(part), [[-6], [2]])
    np.testing.assert_array_equal(ranking.foregrounds(whole), table)
    assert ranking.lowest == -6
    assert ranking_ms(ranking, None) == 7.0  # not the time of a look-up


def test_a_bundle_with_such_networks_has_their_rows_and_cost(world):
    bundle, queries, foregrounds, table = world
    found = evaluate(bundle, queries, foregrounds, table, num_resamples=5, cost=True)
    rows = {row["ranking"]: row for row in found["rows"] if row["name"] == "student"}
    assert list(rows) == ["cosine", "flat", "interaction", "composite"]
    for name in PAIR_NETWORKS:
        assert 0 < rows[name]["figures"]["map"]["value"] <= 1
        assert "pattern_top_1" not in rows[name]["figures"]
        assert rows[name]["fosd"]["map"] > 0
        assert rows[name]["ranking_ms"] > 0
    assert rows["interaction"]["figures"]["map"] != rows["composite"]["figures"]["map"]
    cost = found["cost"]["student"]["pairs"]
    truth = truth_of(queries, foregrounds, table)
    pairs = np.mean([(foregrounds.category == c).sum() for c in truth.query_category])
    assert [cost[name]["pairs"] for name in PAIR_NETWORKS] == [pytest.approx(pairs)] * 2
    assert 0 < cost["interaction"]["pair_gflop"] < cost["composite"]["pair_gflop"]
    assert all(cost[name]["parameters"] > 0 for name in PAIR_NETWORKS)


def test_one_without_them_is_reported_as_before(world):
    bundle, queries, foregrounds, table = world
    encoders = {name: bundle.variables[name] for name in ("foreground", "query")}
    plain = Bundle(config=bundle.config, table=table, variables=encoders, metrics={}, fingerprint="f")
    assert "pairs" not in encoding_cost(EvaluatedModel("student", plain, queries, foregrounds), repeats=1)
    found = evaluate(plain, queries, foregrounds, table, num_resamples=5)
    assert [row["ranking"] for row in found["rows"] if row["name"] == "student"] == ["cosine", "flat"]
