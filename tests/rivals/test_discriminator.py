"""The discriminator of pairs: its network against a plain loop, its loss by hand, and what it takes for positives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fos_jax.data.arrays import Foregrounds, Queries
from fos_jax.errors import InputError
from fos_jax.rivals import ufo as discriminator
from fos_jax.rivals.ufo import PairNetwork, mined_positives, pair_cross_entropy, pair_logits


def test_the_network_is_one_hidden_layer_on_the_pair_end_to_end():
    rng = np.random.default_rng(0)
    query, foreground = rng.normal(size=(3, 4)).astype(np.float32), rng.normal(size=(2, 4)).astype(np.float32)
    network = PairNetwork(5)
    params = network.init(jax.random.key(0), query, foreground)["params"]
    kernel = np.concatenate([params["query"]["kernel"], params["foreground"]["kernel"]])
    naive = np.zeros((3, 2))
    for i in range(3):
        for j in range(2):
            hidden = jax.nn.gelu(np.concatenate([query[i], foreground[j]]) @ kernel + params["query"]["bias"])
            naive[i, j] = (hidden @ params["logit"]["kernel"] + params["logit"]["bias"])[0]
    np.testing.assert_allclose(pair_logits(network, params, query, foreground), naive, atol=1e-5)


def test_true_and_false_pairs_count_alike():
    """Two true pairs at logits 0 and 2, one false one at 1; padding in the last row and column."""
    logit = jnp.array([[0.0, 1.0, 50.0], [-60.0, 2.0, 50.0], [70.0, 80.0, -90.0]])
    is_pair = jnp.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]], bool)
    expected = ((np.log(2) + np.log1p(np.exp(-2))) / 2 + np.log1p(np.e)) / 2
    assert pair_cross_entropy(logit, jnp.eye(3, dtype=bool), is_pair) == pytest.approx(expected, rel=1e-5)
    nothing = jax.grad(pair_cross_entropy)(logit, jnp.eye(3, dtype=bool), jnp.zeros((3, 3), bool))
    np.testing.assert_array_equal(nothing, np.zeros((3, 3)))


class Table:
    """Stands for the network: a query's embedding is its row of logits, a foreground's its unit vector."""

    hidden_size = 4

    def apply(self, variables, query, foreground):
        return query @ foreground.T


OWN = np.array([0, 1, -1], np.int32)
LOGITS = np.array([[9, 3, 1, 4, -2], [5, 9, 6, -1, 2.9], [9, 9, 9, 9, 9]], np.float32)
FOREGROUNDS = Foregrounds(
    np.arange(5).astype(str), np.zeros((5, 4, 4, 4), np.uint8), np.array([0, 0, 0, 1, 1]), np.zeros(5, int)
)
QUERIES = Queries(
    np.arange(3).astype(str),
    np.zeros((3, 4, 4, 3), np.uint8),
    np.zeros((3, 4), np.float32),
    np.zeros(3, np.int32),
    np.zeros((3, 1), bool),
    OWN,
)


def mined(**settings):
    settings = {
        "threshold": 0.95,
        "largest_number": 9,
        "same_category_only": False,
    } | settings  # 0.95 is a logit of 2.94
    pairs = mined_positives(Table(), {}, LOGITS, np.eye(5, dtype=np.float32), QUERIES, FOREGROUNDS, **settings)
    return [pairs.of(i).tolist() for i in range(3)]


@pytest.mark.parametrize("largest_layer", [1 << 24, 40, 1])
def test_positives_are_above_the_threshold_likeliest_first(monkeypatch, largest_layer):
    """Never the own one, nothing for a query without one, whatever the size of the blocks."""
    monkeypatch.setattr(discriminator, "_LARGEST_LAYER", largest_layer)
    assert mined() == [[3, 1], [2, 0], []]


def test_settings_of_mining():
    assert mined(same_category_only=True) == [[1], [2, 0], []]
    assert mined(largest_number=1) == [[3], [2], []]
    assert mined(threshold=0.5) == [[3, 1, 2], [2, 0, 4], []]
    assert mined(threshold=0.9999) == [[], [], []]
    for field, value in (("threshold", 1.0), ("largest_number", 0)):
        with pytest.raises(InputError, match=rf"mining\.{field}: {value}, expected"):
            mined(**{field: value})
