"""Transformed foregrounds as negatives: what the transformations do to pixels, and what the loss does with them."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fos_jax.errors import InputError
from fos_jax.rivals import gala
from fos_jax.rivals.gala import change_geometry, change_light, difference, shade, transform


def spot(y, x, side=9):
    """A red opaque pixel on a transparent cut-out."""
    image = np.full((1, side, side, 4), 128, np.uint8)
    image[..., 3] = 0
    image[0, y, x] = [255, 0, 0, 255]
    return image


def moved(image, *, mirror=False, turn=0.0, scale=1.0):
    return np.asarray(transform(image, jnp.array([mirror]), jnp.array([turn]), jnp.array([scale])))


def test_pixels_go_where_they_should():
    np.testing.assert_array_equal(moved(spot(2, 3)), spot(2, 3))
    np.testing.assert_array_equal(moved(spot(2, 3), mirror=True), spot(2, 5))
    np.testing.assert_allclose(moved(spot(0, 4), turn=np.pi / 2), spot(4, 8), atol=1e-2)  # the top turns to the right
    half = moved(spot(0, 4), scale=0.5)
    assert half[0, 2, 4, 3] == pytest.approx(255)  # four from the centre, then two
    np.testing.assert_allclose(half[0, 0], np.tile([128, 128, 128, 0], (9, 1)), atol=1e-3)  # from outside


def test_light_comes_from_one_side():
    image = np.full((1, 5, 5, 4), 100, np.float32)
    image[..., 3] = 255
    image[0, 0] = [128, 128, 128, 0]  # transparent
    lit = np.asarray(shade(image, jnp.array([0.0]), jnp.array([0.5])))
    np.testing.assert_allclose(lit[0, 2, :, 0], [50, 75, 100, 125, 150])
    np.testing.assert_array_equal(lit[0, 0], image[0, 0])
    np.testing.assert_array_equal(lit[..., 3], image[..., 3])
    down = np.asarray(shade(image, jnp.array([np.pi / 2]), jnp.array([0.5])))
    np.testing.assert_allclose(down[0, 1:, 2, 0], [75, 100, 125, 150], atol=1e-3)


def test_drawn_transformations_are_of_three_kinds_and_finite():
    image = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 4)).astype(np.uint8)
    image[:] = image[:1]
    keys = jax.random.split(jax.random.key(0), 30)
    turned = np.asarray(change_geometry(image, keys, largest_turn_degrees=45.0, smallest_scale=0.6))
    is_mirrored = (turned == image[:, :, ::-1]).all(axis=(1, 2, 3))
    is_small = (turned[:, 0, 0] == [128, 128, 128, 0]).all(axis=1)
    assert 3 < is_mirrored.sum() < 20
    assert is_small.sum() > 3
    assert (difference(image, turned) > 0.02).all()
    relit = np.asarray(change_light(image, keys, largest_shade=0.8))
    assert np.isfinite(relit).all()
    assert len(np.unique(relit[:, 0, 0, 0])) > 5


class Output(NamedTuple):
    embedding: jax.Array


class Direction(nn.Module):
    """A stand-in encoder: the image's first two channels, as a direction."""

    @nn.compact
    def __call__(self, image, *_, train=False):
        gain = self.param("gain", nn.initializers.ones, ())
        mean = gain * image[..., :2].astype(jnp.float32).mean((1, 2))
        return Output(mean / jnp.linalg.norm(mean, axis=1, keepdims=True))


def picture(pixel):
    return np.broadcast_to(np.array(pixel), (4, 4, len(pixel))).astype(np.uint8)


BATCH = {
    "image": np.stack([picture([200, 0, 0]), picture([0, 200, 0]), picture([0, 200, 0])]),
    "box_yxyx_norm": np.tile(np.array([0.1, 0.1, 0.6, 0.6], np.float32), (3, 1)),
    "category": np.array([0, 0, 1], np.int32),
    "weight": np.ones(3, np.float32),
    "positive_image": np.stack([picture([200, 0, 0, 255]), picture([0, 200, 0, 255]), picture([0, 200, 0, 255])]),
    "positive_category": np.array([0, 0, 1], np.int32),
}


def loss_of(monkeypatch, batch=BATCH, **settings):
    """With transformations that turn every picture's direction round: red to green and back."""
    monkeypatch.setattr(gala, "change_geometry", lambda image, keys, **_: image[..., jnp.array([1, 0, 2, 3])])
    monkeypatch.setattr(gala, "change_light", lambda image, keys, **_: image.astype(jnp.float32))  # changes nothing
    loss = gala.make_gala_loss(Direction(), Direction(), scale=2.0, **settings)
    params = {"foreground": {"gain": jnp.ones(())}, "query": {"gain": jnp.ones(())}}
    keys = jax.random.split(jax.random.key(0), 3)
    return jax.jit(lambda batch: loss(params, {}, batch, keys, {}, lambda x: x))(batch)


def test_own_changed_foregrounds_are_negatives_where_they_differ(monkeypatch):
    """Query 0: own at cosine 1, query 1's at 0, own changed at 0; the unchanged "relit" one takes no part."""

    def cross_entropy(others):
        return np.log(np.exp(2) + sum(np.exp(2 * x) for x in others)) - 2

    loss, (metrics, _) = loss_of(monkeypatch)
    forth = (2 * cross_entropy([0, 0]) + cross_entropy([0])) / 3  # query 2 is alone in its category
    back = 2 * cross_entropy([0]) / 3
    assert loss == pytest.approx((forth + back) / 2, rel=1e-5)
    assert metrics["own_above_changed"] == 1.0
    # without any negative of its own it is the two streams' loss
    loss, _ = loss_of(monkeypatch, smallest_difference=2.0)
    assert loss == pytest.approx(back, rel=1e-5)


def test_padding_takes_no_part(monkeypatch):
    weight = {"weight": np.array([1, 0, 1], np.float32)}
    found, _ = loss_of(monkeypatch, BATCH | weight)
    other = {"image": BATCH["image"][[0, 0, 2]], "positive_image": BATCH["positive_image"][[0, 0, 2]]}
    again, _ = loss_of(monkeypatch, BATCH | weight | other)
    assert found == pytest.approx(float(again), abs=1e-7)


@pytest.mark.parametrize(("field", "value"), [("smallest_scale", 0.0), ("largest_shade", 1.5), ("scale", -1.0)])
def test_numbers_out_of_range_are_named(field, value):
    with pytest.raises(InputError, match=rf"gala\.{field}: {value}, expected"):
        gala.make_gala_loss(Direction(), Direction(), **({"scale": 1.0} | {field: value}))
