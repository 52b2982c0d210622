"""The benchmark on photographs: earlier methods learn on frozen features, precision leaves the own foreground out."""

from types import SimpleNamespace

import numpy as np
import photograph_rivals as rivals
import photographs
import pytest

from fos_jax.experts.training import own_percentile


def _pairs(n, rng):
    """Queries and foregrounds that share eight numbers among twenty-four; nothing else tells the own one."""
    common = rng.normal(size=(n, 8))
    query, foreground, mirrored = (
        [np.concatenate([common, rng.normal(size=(n, 16))], axis=1), rng.normal(size=(n, 4))] for _ in range(3)
    )
    return rivals.Pairs(query, foreground, mirrored, rng.integers(0, 2, n), np.arange(n))


@pytest.mark.parametrize("name", list(rivals.LOSSES))
def test_every_rival_learns_and_is_the_same_again(name):
    rng = np.random.default_rng(0)
    pairs, test = _pairs(120, rng), _pairs(60, rng)
    towers = rivals.train(name, pairs, num_steps=80, components=16, seed=0)
    scores = towers.score(towers.query(test.query), towers.foreground(test.foreground))
    assert own_percentile(scores, test.category).mean() < 0.4  # chance is .5
    again = rivals.train(name, pairs, num_steps=80, components=16, seed=0)
    np.testing.assert_array_equal(
        scores, again.score(again.query(test.query), again.foreground(test.foreground)), err_msg=name
    )


def test_precision_leaves_the_own_foreground_out():
    data = SimpleNamespace(
        pattern=np.array([0, 0, 1, 0]), examples=SimpleNamespace(category=np.array(["cat", "cat", "cat", "dog"]))
    )
    task = photographs.Task(data, np.array([0, 2]), np.arange(4))
    similarity = np.array([[9.0, 1.0, 2.0, 8.0], [0.0, 1.0, 2.0, 3.0]])
    precision = photographs.pattern_precision(similarity, task)
    assert precision[0] == pytest.approx(1 / 2)  # of cats other than the own: row 2 (wrong), then row 1 (right)
    assert np.isnan(precision[1])  # no other cat has its pattern
