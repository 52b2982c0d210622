"""Model inputs: rectangle filling and the context crop, by hand and by properties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fos_jax.encoders import inputs
from fos_jax.errors import InputError


def test_mean_colour_is_zero_and_scale_is_the_deviation():
    got = inputs.normalise(jnp.array([[128, 128 + 58, 128 - 58]], jnp.uint8))
    np.testing.assert_array_equal(got, [[0, 1, -1]])


def test_rectangle_mask_by_hand():
    mask = inputs.rectangle_mask(jnp.array([[0.25, 0.0, 0.75, 0.5]]), 4)
    np.testing.assert_array_equal(mask[0], [[0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]])


def test_a_touched_pixel_is_filled():
    mask = inputs.rectangle_mask(jnp.array([[0.3, 0.3, 0.6, 0.6]]), 4)
    np.testing.assert_array_equal(mask[0], [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize("size", [2, 3, 7, 49, 64, 96, 224])
def test_whole_pixel_rectangles_fill_exactly_their_pixels(size):
    low, high = np.array([(a, b) for a in range(size) for b in range(a + 1, size + 1, 1 + size // 50)]).T
    box = np.stack([low, np.zeros_like(low), high, np.full_like(low, size)], axis=1).astype(np.float32) / size
    rows = np.asarray(inputs.rectangle_mask(box, size))[:, :, 0]
    expected = (np.arange(size) >= low[:, None]) & (np.arange(size) < high[:, None])
    np.testing.assert_array_equal(rows, expected)


@pytest.mark.parametrize("box", [[0.5, 0.5, 0.5, 0.5], [1.0, 1.0, 1.0, 1.0], [0, 0, 0, 0], [-1, -1, 2, 2]])
def test_degenerate_rectangles_still_fill_a_pixel_inside(box):
    assert inputs.rectangle_mask(jnp.array([box], jnp.float32), 8).sum() >= 1


def test_foreground_input_by_hand():
    image = jnp.array([[[[186, 128, 70, 255], [255, 0, 255, 0]]]], jnp.uint8)
    np.testing.assert_array_equal(inputs.foreground_input(image)[0, 0], [[1, 0, -1, 1], [0, 0, 0, 0]])


def test_what_is_inside_the_rectangle_is_not_seen():
    rng = np.random.default_rng(0)
    a = rng.integers(0, 256, (1, 16, 16, 3), np.uint8)
    b = a.copy()
    b[:, 4:8, 2:10] = rng.integers(0, 256, (1, 4, 8, 3))
    box = jnp.array([[4, 2, 8, 10]], jnp.float32) / 16
    for view in inputs.VIEWS:
        left, right = (inputs.query_input(jnp.array(x), box, views=(view,))[view] for x in (a, b))
        np.testing.assert_array_equal(left, right)


def test_frame_view_is_the_image_outside_the_rectangle():
    image = jnp.full((1, 4, 4, 3), 186, jnp.uint8)
    frame = inputs.query_input(image, jnp.array([[0, 0, 0.5, 1.0]]))["frame"]
    np.testing.assert_array_equal(frame[0, :2], np.broadcast_to([0, 0, 0, 1], (2, 4, 4)))
    np.testing.assert_array_equal(frame[0, 2:], np.broadcast_to([1, 1, 1, 0], (2, 4, 4)))


def test_crop_of_the_whole_frame_is_the_frame():
    image = jnp.array(np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8))
    box = jnp.array([[0.25, 0.25, 0.75, 0.75]])
    views = inputs.query_input(image, box, views=("frame", "crop"), crop_context=2.0)
    np.testing.assert_allclose(views["crop"], views["frame"], atol=1e-5)


def test_crop_outside_the_frame_is_the_mean_colour():
    image = jnp.full((1, 8, 8, 3), 186, jnp.uint8)
    crop = inputs.query_input(image, jnp.array([[0, 0, 0.5, 0.5]]), views=("crop",), crop_context=2.0)["crop"][0]
    np.testing.assert_allclose(crop[:2, :, :3], 0, atol=1e-6)  # above the frame
    np.testing.assert_allclose(crop[2:6, 2:6], np.broadcast_to([0, 0, 0, 1], (4, 4, 4)), atol=1e-6)
    np.testing.assert_allclose(crop[6:, 6:, :3], 1, atol=1e-6)


def test_crop_is_of_the_size_asked_for_and_traced_once():
    traces = []

    @jax.jit
    def views(image, box):
        traces.append(1)
        return inputs.query_input(image, box, views=("crop",), crop_size=6)

    image = jnp.zeros((2, 12, 12, 3), jnp.uint8)
    for box in ([0.1, 0.1, 0.2, 0.9], [0.5, 0.5, 0.500001, 0.500001]):
        crop = views(image, jnp.array([box, box]))["crop"]
        assert crop.shape == (2, 6, 6, 4)
        assert jnp.all(jnp.isfinite(crop))
    assert len(traces) == 1


def test_no_views_read_nothing():
    assert inputs.query_input(jnp.zeros((1, 4, 4, 3)), jnp.zeros((1, 4)), views=()) == {}


@pytest.mark.parametrize(("views", "named"), [(("frame", "sky"), "sky"), (("crop", "crop"), "repeats")])
def test_bad_views_are_refused(views, named):
    with pytest.raises(InputError, match=named):
        inputs.check_views(views)
