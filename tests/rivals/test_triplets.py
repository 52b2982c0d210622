"""Triplets by hand: which foregrounds fit, which are negatives, what padding and categories do."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fos_jax.data.arrays import Foregrounds, Pairs, Queries
from fos_jax.errors import InputError
from fos_jax.rivals.triplets import make_triplet_loss, positive_pairs, triplet_rows


def pairs_of(lists):
    return Pairs(np.cumsum([0, *map(len, lists)]), np.array([row for rows in lists for row in rows], np.int32))


def splits_of(own):
    n, one = len(own), np.zeros(len(own), np.int32)
    box = np.tile(np.array([0.1, 0.1, 0.6, 0.6], np.float32), (n, 1))
    ids, nothing = np.array([f"q{i}" for i in range(n)]), np.zeros((n, 0), bool)
    queries = Queries(ids, np.zeros((n, 4, 4, 3), np.uint8), box, one, nothing, np.array(own, np.int32))
    image = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 4), np.uint8)
    return Foregrounds(np.arange(10).astype(str), image, np.arange(10, dtype=np.int32) % 2, -np.ones(10, int)), queries


def test_rows_by_hand():
    """Query 0 owns 3 and further has 5 and 6, query 1 owns nothing, query 2 owns 7."""
    foregrounds, queries = splits_of([3, -1, 7])
    rows = triplet_rows(foregrounds, queries, pairs_of([[5, 6], [4], []]))
    every = np.arange(4)
    assert rows.ids.tolist() == ["q0", "q0", "q0", "q2"]
    assert rows.arrays["positive_row"][every].tolist() == [3, 5, 6, 7]
    assert rows.arrays["positive_image"][every][:, 0, 0, 0].tolist() == [3, 5, 6, 7]
    assert rows.arrays["positive_category"][every].tolist() == [1, 1, 0, 1]
    assert rows.arrays["fitting_rows"][every].tolist() == [[3, 5, 6]] * 3 + [[7, -2, -2]]
    assert positive_pairs(queries).rows.tolist() == [3, 7]
    with pytest.raises(InputError, match="no query has its own foreground"):
        positive_pairs(splits_of([-1, -1])[1])


class Output(NamedTuple):
    embedding: jax.Array


class Direction(nn.Module):
    """A stand-in encoder: the image's first two channels, as a direction."""

    @nn.compact
    def __call__(self, image, *_, train=False):
        gain = self.param("gain", nn.initializers.ones, ())
        mean = gain * image[..., :2].astype(jnp.float32).mean((1, 2))
        return Output(mean / jnp.linalg.norm(mean, axis=1, keepdims=True))


def pictures(*degrees, channels):
    angle = np.radians(np.array(degrees))[:, None]
    pixel = np.concatenate([200 * np.cos(angle), 200 * np.sin(angle), 0 * angle, 0 * angle + 255], axis=1)
    return np.broadcast_to(np.rint(pixel)[:, None, None, :channels], (len(degrees), 4, 4, channels)).astype(np.uint8)


def batch_of(**changes):
    """Three queries at 0, 0 and 90 degrees; their positives at 0, 60 and 90."""
    batch = {
        "image": pictures(0, 0, 90, channels=3),
        "box_yxyx_norm": np.tile(np.array([0.1, 0.1, 0.6, 0.6], np.float32), (3, 1)),
        "category": np.zeros(3, np.int32),
        "weight": np.ones(3, np.float32),
        "positive_image": pictures(0, 60, 90, channels=4),
        "positive_category": np.zeros(3, np.int32),
        "positive_row": np.array([10, 11, 12], np.int32),
        "fitting_rows": np.array([[10, -2], [11, -2], [12, -2]], np.int32),
    }
    return {k: jnp.asarray(v) for k, v in (batch | changes).items()}


@pytest.fixture(scope="module")
def loss_of():
    made = {}

    def call(batch, *, margin=0.4, same_category_only=True):
        key = (margin, same_category_only)
        if key not in made:
            loss = make_triplet_loss(Direction(), Direction(), margin=margin, same_category_only=same_category_only)
            params = {"foreground": {"gain": jnp.ones(())}, "query": {"gain": jnp.ones(())}}
            keys = jax.random.split(jax.random.key(0), 3)
            made[key] = jax.jit(lambda batch: loss(params, {}, batch, keys, {}, lambda x: x))
        return made[key](batch)

    return call


def hinge(own, other, margin=0.4):
    """Squared distances are 2 - 2 cos."""
    return max(0.0, (2 - 2 * own) - (2 - 2 * other) + margin)


COSINE = [[1, 0.5, 0], [1, 0.5, 0], [0, np.cos(np.pi / 6), 1]]  # query by positive


def expected(is_pair):
    own = np.diag(COSINE)
    forth = [np.mean([hinge(own[i], COSINE[i][j]) for j in range(3) if is_pair[i][j]] or [0]) for i in range(3)]
    back = [np.mean([hinge(own[j], COSINE[i][j]) for i in range(3) if is_pair[i][j]] or [0]) for j in range(3)]
    return (np.mean(forth) + np.mean(back)) / 2


def test_loss_by_hand(loss_of):
    loss, (metrics, stats) = loss_of(batch_of())
    assert loss == pytest.approx(expected(~np.eye(3, dtype=bool)), abs=1e-2)
    # Violated, as (query, foreground): (1, 0), and (2, 1), which comes within the margin.
    assert metrics["violated"] == pytest.approx(2 / 6)
    assert stats == {}


def test_what_fits_is_never_a_negative(loss_of):
    """Queries 0 and 1 are the same query with two positives."""
    fitting = np.array([[10, 11], [10, 11], [12, -2]], np.int32)
    loss, _ = loss_of(batch_of(fitting_rows=fitting))
    is_pair = np.array([[0, 0, 1], [0, 0, 1], [1, 1, 0]], bool)
    assert loss == pytest.approx(expected(is_pair), abs=1e-2)


def test_other_categories_are_negatives_only_where_wished(loss_of):
    other = {"category": np.array([0, 0, 1], np.int32), "positive_category": np.array([0, 0, 1], np.int32)}
    is_pair = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]], bool)
    assert loss_of(batch_of(**other))[0] == pytest.approx(expected(is_pair), abs=1e-2)
    everything = loss_of(batch_of(**other), same_category_only=False)[0]
    assert everything == pytest.approx(expected(~np.eye(3, dtype=bool)), abs=1e-2)


def test_padding_takes_no_part(loss_of):
    weight = np.array([1, 1, 0], np.float32)
    found = loss_of(batch_of(weight=weight))[0]
    changed = {"image": pictures(0, 0, 45, channels=3), "positive_image": pictures(0, 60, 10, channels=4)}
    assert found == pytest.approx(float(loss_of(batch_of(weight=weight, **changed))[0]), abs=1e-6)
    assert found > 0


def test_a_margin_of_nothing_is_refused():
    with pytest.raises(InputError, match=r"triplets\.margin: 0, expected more than 0"):
        make_triplet_loss(Direction(), Direction(), margin=0)
