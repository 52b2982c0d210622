"""Occlusion maps: on posteriors whose evidence is known, and through a real encoder."""

import numpy as np
import pytest

from fos_jax.errors import InputError
from fos_jax.explain.evidence import evidence_picture, occlusion_map, overlay, pattern_mass
from fos_jax.images import prepare_query, query_window

BOX = np.float32([0.25, 0.25, 0.75, 0.75])


def bright_corner(image, box):
    """Pattern 0's probability grows with the brightness of the top left 8 x 8 pixels; boxes must come along."""
    assert box.shape == (len(image), 4)
    bright = image[:, :8, :8].mean(axis=(1, 2, 3)) / 255
    p = 0.05 + 0.9 * bright
    return np.log(np.stack([p, 1 - p], axis=1))


def mass_of(log_posterior, patterns):
    return lambda *inputs: pattern_mass(log_posterior(*inputs), patterns)


def make_image():
    image = np.full((48, 48, 3), 128, np.uint8)
    image[:8, :8] = 255
    return image


def test_evidence_lies_where_it_is():
    got = occlusion_map(mass_of(bright_corner, [0]), (make_image(), BOX))
    assert got.shape == (48, 48)
    assert got.dtype == np.float32
    assert got[:8, :8].min() > 0
    np.testing.assert_allclose(got[16:, :], 0, atol=1e-6)
    np.testing.assert_allclose(got[:, 16:], 0, atol=1e-6)
    against = occlusion_map(mass_of(bright_corner, [1]), (make_image(), BOX))
    assert against[:8, :8].max() < 0


def test_all_patterns_together_are_certain_so_nothing_speaks_for_them():
    np.testing.assert_allclose(occlusion_map(mass_of(bright_corner, [0, 1]), (make_image(), BOX)), 0, atol=1e-6)


def test_one_window_by_hand():
    """Covering the whole image: brightness 255 -> 128 in the corner, everywhere the same drop."""
    got = occlusion_map(mass_of(bright_corner, [0]), (make_image(), BOX), window_px=48, stride_px=48)
    np.testing.assert_allclose(got, np.log(0.95) - np.log(0.05 + 0.9 * 128 / 255), rtol=1e-5)


def test_the_image_is_left_alone_and_impossible_patterns_stay_finite():
    image = make_image()
    before = image.copy()

    def impossible(images, box):
        return np.full((len(images), 2), -np.inf)

    assert np.isfinite(occlusion_map(mass_of(impossible, [0]), (image, BOX))).all()
    assert (image == before).all()


@pytest.mark.parametrize("kwargs", [{"window_px": 49}, {"window_px": 0}, {"window_px": 4, "stride_px": 5}])
def test_windows_that_do_not_fit_are_refused(kwargs):
    with pytest.raises(InputError, match="window_px, stride_px"):
        occlusion_map(mass_of(bright_corner, [0]), (make_image(), BOX), **kwargs)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="expected uint8"):
        occlusion_map(mass_of(bright_corner, [0]), (make_image()[:20], BOX))
    with pytest.raises(ValueError, match="evidence has shape"):
        overlay(make_image(), np.zeros((2, 2)))


def test_overlay_colours_and_neutral_grey():
    image = np.full((4, 4, 3), 100, np.uint8)
    evidence = np.zeros((4, 4), np.float32)
    evidence[0, 0], evidence[0, 1] = 2, -1
    got = overlay(image, evidence)
    assert got[0, 0, 0] > got[0, 0, 2]  # red: for
    assert got[0, 1, 2] > got[0, 1, 0]  # blue: against
    assert (got[2, 2] == 100).all()
    assert (overlay(image, np.zeros((4, 4))) == 100).all()


@pytest.mark.parametrize(
    ("box", "window"),
    [((20, 10, 40, 30), (10, 0, 50, 40)), ((0, 0, 60, 10), (0, -10, 60, 50))],
    ids=["inside", "padded"],
)
def test_picture_paints_the_window_that_the_model_saw(box, window):
    photo = np.full((40, 60, 3), 100, np.uint8)
    image, _ = prepare_query(photo, box, 20)
    got = evidence_picture(photo, box, np.ones(image.shape[:2], np.float32), query_window(box, 60, 40))
    assert got.shape == photo.shape
    x0, y0, x1, y1 = window
    red = got[..., 0].astype(int) > got[..., 2].astype(int)
    white = (got == 255).all(axis=2)
    seen = np.zeros((40, 60), bool)
    seen[max(y0, 0) : y1, x0:x1] = True
    assert white.sum() == 2 * (box[2] - box[0]) + 2 * (box[3] - box[1]) - 4  # one pixel wide
    np.testing.assert_array_equal(red | white, seen | white)
