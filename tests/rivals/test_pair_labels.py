"""Training from labels of pairs: triples by hand, and a loss that never uses a fitting foreground as a negative."""

import dataclasses
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fos_jax.data.arrays import Pairs, Queries
from fos_jax.errors import InputError
from fos_jax.rivals import pair_labels


def pairs_of(lists):
    return Pairs(np.cumsum([0, *map(len, lists)]), np.array([row for rows in lists for row in rows], np.int32))


def queries_of(relevant, irrelevant):
    n, one = len(relevant), np.zeros(len(relevant), np.int32)
    image, nothing = np.zeros((n, 4, 4, 3), np.uint8), np.zeros((n, 0), bool)
    box = np.tile(np.array([0.1, 0.1, 0.6, 0.6], np.float32), (n, 1))
    return Queries(np.array([f"q{i}" for i in range(n)]), image, box, one, nothing, one, relevant, irrelevant)


def test_triples_by_hand():
    """Lists {5, 6, 7} against {1, 2}; {8} against nothing; nothing at all; {9} against {3}."""
    queries = queries_of([[5, 6, 7], [8], [], [9]], None)
    queries = dataclasses.replace(
        queries, relevant=pairs_of([[5, 6, 7], [8], [], [9]]), irrelevant=pairs_of([[1, 2], [], [4], [3]])
    )
    query, positive, negative = pair_labels.label_triples(queries)
    assert query.tolist() == [0, 0, 0, 1, 3]
    assert positive.tolist() == [5, 6, 7, 8, 9]
    assert negative.tolist() == [1, 2, 1, -1, 3]
    _, _, negative = pair_labels.label_triples(dataclasses.replace(queries, irrelevant=None))
    assert negative.tolist() == [-1] * 5
    assert pair_labels.padded_rows(queries.relevant).tolist() == [[5, 6, 7], [8, -2, -2], [-2, -2, -2], [9, -2, -2]]


@pytest.mark.parametrize("relevant", [None, [[], []]])
def test_no_labels_are_refused(relevant):
    queries = queries_of([[], []], None)
    queries = dataclasses.replace(queries, relevant=None if relevant is None else pairs_of(relevant))
    with pytest.raises(InputError, match="labels by pairs"):
        pair_labels.label_triples(queries)


class Output(NamedTuple):
    embedding: jax.Array


class Direction(nn.Module):
    """A stand-in encoder: the image's first two channels, as a direction."""

    @nn.compact
    def __call__(self, image, *_, train=False):
        gain = self.param("gain", nn.initializers.ones, ())
        mean = gain * image[..., :2].astype(jnp.float32).mean((1, 2))
        return Output(mean / jnp.linalg.norm(mean, axis=1, keepdims=True))


def picture(angle, channels):
    pixel = [200 * np.cos(angle), 200 * np.sin(angle), 0, 255][:channels]
    return np.broadcast_to(np.rint(pixel), (4, 4, channels)).astype(np.uint8)


def loss_of(batch, *, scale=2.0, **kwargs):
    module = Direction()
    params = {"foreground": {"gain": jnp.ones(())}, "query": {"gain": jnp.ones(())}}
    loss = pair_labels.make_pair_loss(module, module, scale=scale, **kwargs)
    keys = jax.random.split(jax.random.key(0), len(batch["weight"]))
    return jax.jit(lambda: loss(params, {}, batch, keys, {}, lambda x: x))()


def batch_of(**changes):
    """Two queries of one category; query 0 looks along 0 degrees, query 1 along 90."""
    right, up = 0.0, np.pi / 2
    batch = {
        "image": np.stack([picture(right, 3), picture(up, 3)]),
        "box_yxyx_norm": np.tile(np.array([0.1, 0.1, 0.6, 0.6], np.float32), (2, 1)),
        "category": np.zeros(2, np.int32),
        "weight": np.ones(2, np.float32),
        "positive_image": np.stack([picture(right, 4), picture(up, 4)]),
        "negative_image": np.stack([picture(up, 4), picture(right, 4)]),
        "positive_row": np.array([10, 11], np.int32),
        "negative_row": np.array([12, 13], np.int32),
        "fitting_rows": np.array([[10, -2], [11, -2]], np.int32),
    }
    return {k: jnp.asarray(v) for k, v in (batch | changes).items()}


def cross_entropy(own, others, scale=2.0):
    return -(scale * own - np.log(np.exp(scale * np.array([own, *others])).sum()))


def test_loss_by_hand():
    """Candidates of query 0: its positive (cosine 1), query 1's positive (0), its negative (0), query 1's (1)."""
    loss, (metrics, stats) = loss_of(batch_of())
    assert loss == pytest.approx(cross_entropy(1, [0, 0, 1]), abs=1e-5)
    assert metrics["positive_above_negative"] == 1.0
    assert stats == {}


def test_what_fits_is_never_a_negative():
    """Query 1's positive and negative (rows 11 and 13) fit query 0 as well: two candidates remain for it."""
    loss, _ = loss_of(batch_of(fitting_rows=np.array([[10, 11, 13], [11, -2, -2]], np.int32)))
    assert loss == pytest.approx((cross_entropy(1, [0]) + cross_entropy(1, [0, 0, 1])) / 2, abs=1e-5)


def test_missing_negatives_and_padding_take_no_part():
    loss, (metrics, _) = loss_of(batch_of(negative_row=np.array([-1, 13], np.int32)))
    assert loss == pytest.approx((cross_entropy(1, [0, 1]) + cross_entropy(1, [0, 0])) / 2, abs=1e-5)
    assert metrics["positive_above_negative"] == 1.0
    loss, _ = loss_of(batch_of(weight=np.array([1, 0], np.float32)))
    assert loss == pytest.approx(cross_entropy(1, [0]), abs=1e-5)


def test_other_categories_take_part_only_as_own_negatives():
    loss, _ = loss_of(batch_of(category=np.array([0, 1], np.int32)))
    assert loss == pytest.approx(cross_entropy(1, [0]), abs=1e-5)
    loss, _ = loss_of(batch_of(category=np.array([0, 1], np.int32)), same_category_only=False)
    assert loss == pytest.approx(cross_entropy(1, [0, 0, 1]), abs=1e-5)
