import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fos_jax.training import augment

MIRROR = jnp.array([1, 0, 2, -1])


def _keys(n, seed=0):
    return jax.random.split(jax.random.key(seed), n)


def _cutouts(n):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, 4, 4, 4), np.uint8)


def test_mirrored_cutout_takes_its_mirrored_pattern():
    image, pattern = _cutouts(5), jnp.array([0, 1, 2, 3, -1])
    flipped, labels = augment.mirror_foregrounds(image, pattern, _keys(5), MIRROR, probability=1.0)
    assert labels.tolist() == [1, 0, 2, 3, -1]
    np.testing.assert_array_equal(flipped[:3], image[:3, :, ::-1])
    np.testing.assert_array_equal(flipped[3:], image[3:])  # no mirror image known: never flipped
    same, labels = augment.mirror_foregrounds(image, pattern, _keys(5), MIRROR, probability=0.0)
    np.testing.assert_array_equal(same, image)
    assert labels.tolist() == pattern.tolist()


def test_mirrored_query_takes_mirrored_rectangle_and_patterns():
    image = _cutouts(3)[..., :3]
    box = jnp.array([[0.1, 0.2, 0.5, 0.4]] * 3)
    compatible = jnp.array([[True, False, True, False], [False, True, False, True], [True, True, False, False]])
    flipped, boxes, patterns = augment.mirror_queries(image, box, compatible, _keys(3), MIRROR, probability=1.0)
    np.testing.assert_array_equal(flipped[0], image[0, :, ::-1])
    np.testing.assert_allclose(boxes[0], [0.1, 0.6, 0.5, 0.8], rtol=1e-6)
    assert patterns[0].tolist() == [False, True, True, False]
    np.testing.assert_array_equal(flipped[1], image[1])  # pattern 3 has no mirror image
    np.testing.assert_array_equal(boxes[1], box[1])
    assert patterns[1].tolist() == compatible[1].tolist()
    assert patterns[2].tolist() == [True, True, False, False]


def test_half_of_many_rows_are_flipped():
    image = jnp.zeros((2000, 1, 2, 4), jnp.uint8)
    _, labels = augment.mirror_foregrounds(image, jnp.zeros(2000, int), _keys(2000), MIRROR, probability=0.5)
    assert 0.45 < float(labels.mean()) < 0.55


def test_colour_jitter_leaves_matte_alpha_and_identity():
    image = _cutouts(6)
    image[:, :2, :, :3], image[:, :2, :, 3] = 128, 0
    jitter = augment.ColourJitter(brightness=0.2, contrast=0.3, saturation=0.3, hue=0.3)
    out = augment.jitter_colours(image, _keys(6), jitter)
    np.testing.assert_allclose(out[:, :2, :, :3], 128.0, atol=1e-4)
    np.testing.assert_array_equal(out[..., 3], image[..., 3])
    assert float(jnp.abs(out[:, 2:, :, :3] - image[:, 2:, :, :3]).max()) > 10
    assert float(out.min()) >= 0
    assert float(out.max()) <= 255
    same = augment.jitter_colours(image, _keys(6), augment.ColourJitter())
    np.testing.assert_array_equal(same, image.astype(np.float32))


def test_hue_and_saturation_leave_grey_alone_and_hue_keeps_length():
    grey = jnp.full((4, 2, 2, 3), 90.0)
    out = augment.jitter_colours(grey, _keys(4), augment.ColourJitter(saturation=0.5, hue=1.0))
    np.testing.assert_allclose(out, 90.0, atol=1e-3)
    rotation = augment._hue_rotation(jnp.array([0.3, 2 * np.pi / 3]))
    np.testing.assert_allclose(rotation[0] @ rotation[0].T, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(rotation[1] @ np.array([1.0, 0, 0]), [0, 1, 0], atol=1e-6)  # red to green


@pytest.mark.parametrize("seed", range(5))
def test_rectangles_only_grow_and_stay_in_the_image(seed):
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 0.9, (50, 2))
    box = np.concatenate([low, low + rng.uniform(0.01, 1, (50, 2)) * (1 - low)], axis=1).astype(np.float32)
    out = np.asarray(augment.expand_boxes(jnp.array(box), _keys(50, seed), largest=0.2))
    assert (out[:, :2] <= box[:, :2]).all()
    assert (out[:, 2:] >= box[:, 2:]).all()
    assert out.min() >= 0
    assert out.max() <= 1
    size = np.tile(box[:, 2:] - box[:, :2], (1, 2))
    assert (np.abs(out - box) <= 0.2 * size + 1e-6).all()
    np.testing.assert_array_equal(augment.expand_boxes(jnp.array(box), _keys(50), largest=0.0), box)


def test_a_rows_draw_depends_on_its_own_key_only():
    image = _cutouts(4)
    jitter = augment.ColourJitter(brightness=0.2, hue=0.2)
    whole = augment.jitter_colours(image, _keys(4), jitter)
    part = augment.jitter_colours(image[2:3], _keys(4)[2:3], jitter)
    np.testing.assert_allclose(whole[2:3], part, rtol=1e-5)
