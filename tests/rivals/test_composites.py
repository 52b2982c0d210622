"""Composites inside the step, by hand and against pasting into photographs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fos_jax.compose.layers import paste_cutout
from fos_jax.encoders.inputs import DEVIATION, MEAN, rectangle_mask
from fos_jax.images import prepare_cutout
from fos_jax.rivals.composite import composite_input, placed


def cutout(width, height, colour=(255, 0, 0), side=16):
    """An opaque block in the middle of a transparent square."""
    image = np.full((side, side, 4), 128, np.uint8)
    image[..., 3] = 0
    top, left = (side - height) // 2, (side - width) // 2
    image[top : top + height, left : left + width] = (*colour, 255)
    return image


def photo(size=40, colour=(0, 0, 100)):
    return np.full((size, size, 3), colour, np.uint8)


def composite(image, box_px, foreground):
    box = np.array([[box_px[1], box_px[0], box_px[3], box_px[2]]], np.float32) / image.shape[0]
    made = jax.jit(composite_input)(image[None], box, foreground[None])[0]
    return np.asarray(made[..., :3]) * DEVIATION + MEAN, np.asarray(made[..., 3])


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((4, 8), (15, 5, 25, 25)),  # twice as high as wide: fills the height, in the middle
        ((8, 4), (10, 15, 30, 25)),  # stands at the bottom
        ((16, 16), (10, 5, 30, 25)),
        ((6, 6), (10, 5, 30, 25)),  # transparent margins do not count
    ],
)
def test_it_fills_one_side_and_stands_at_the_bottom_centre(size, expected):
    colours, mask = composite(photo(), (10, 5, 30, 25), cutout(*size))
    x0, y0, x1, y1 = expected
    inside = colours[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2]
    np.testing.assert_allclose(inside, np.broadcast_to([255, 0, 0], inside.shape), atol=1e-3)
    ys, xs = np.nonzero(colours[..., 0] > 190)
    assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == pytest.approx(expected, abs=1)
    outside = np.ones((40, 40), bool)
    outside[5:25, 10:30] = False
    np.testing.assert_allclose(colours[outside], np.broadcast_to([0, 0, 100], (outside.sum(), 3)), atol=1e-3)
    np.testing.assert_array_equal(mask, ~outside)


def test_nothing_of_the_rectangle_is_seen_around_the_cut_out():
    image = photo()
    image[5:25, 10:30] = 255
    colours, _ = composite(image, (10, 5, 30, 25), cutout(4, 8))
    np.testing.assert_allclose(colours[5:25, 10:13], 128, atol=1e-3)


def test_alpha_blends_by_hand():
    """Over the filled rectangle (128): 51 / 255 of the colour, the rest of it; matted as prepared cut-outs are."""
    soft = np.zeros((16, 16, 4), np.uint8)
    soft[...] = (*np.rint(0.2 * np.array([200, 100, 0]) + 0.8 * 128), 51)
    colours, _ = composite(photo(), (10, 5, 26, 21), soft)
    np.testing.assert_allclose(colours[10:16, 14:20], np.broadcast_to([142, 122, 102], (6, 6, 3)), atol=0.6)


def test_it_is_what_pasting_into_the_photograph_gives():
    rng = np.random.default_rng(0)
    yy, xx = np.mgrid[:48, :48]
    for box_px, axes in (((6, 10, 40, 30), (20, 9)), ((12, 5, 30, 47), (8, 22)), ((3, 20, 44, 45), (21, 21))):
        shape = np.zeros((48, 48, 4), np.uint8)
        shape[..., :3] = np.stack([3 * xx + 40, 4 * yy + 30, 90 + xx + yy], axis=-1)
        shape[..., 3] = 255 * (((xx - 23.5) / axes[0]) ** 2 + ((yy - 23.5) / axes[1]) ** 2 <= 1)
        prepared = prepare_cutout(shape, 48)
        image = rng.integers(0, 256, (48, 48, 3)).astype(np.uint8)
        x0, y0, x1, y1 = box_px
        filled = image.copy()
        filled[y0:y1, x0:x1] = 128
        expected = paste_cutout(filled, prepared, box_px).astype(np.float32)
        found, _ = composite(image, box_px, prepared)
        difference = np.abs(found - expected)[y0:y1, x0:x1]
        assert difference.mean() < 4  # the filters at the silhouette differ, nothing else
        assert np.median(difference) < 1.5
        misplaced = np.abs(np.roll(found, 3, axis=1) - expected)[y0:y1, x0:x1]
        assert misplaced.mean() > 2 * difference.mean()


def test_nothing_visible_and_padding_stay_finite():
    empty, nowhere = np.zeros((2, 16, 16, 4), np.uint8), np.array([[0, 0, 0, 0], [0.2, 0.2, 0.21, 0.9]], np.float32)
    made = jax.jit(composite_input)(np.stack([photo(), photo()]), nowhere, empty)
    assert np.isfinite(made).all()
    gradient = jax.grad(lambda layer: placed(layer, empty[..., 3] > 0, nowhere, 40).sum())(jnp.ones((2, 16, 16, 3)))
    assert np.isfinite(gradient).all()
    assert rectangle_mask(nowhere, 40).sum() >= 2
