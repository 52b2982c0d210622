"""Edges, colours and shadows of cut-outs."""

import cv2
import numpy as np
import pytest

from fos_jax.compose.colours import blend_poisson, match_surroundings
from fos_jax.compose.edges import clean_edges
from fos_jax.compose.layers import Layer, compose_layers
from fos_jax.compose.shadows import contact_shadow

OBJECT, OLD, NEW = (200, 60, 40), (30, 90, 220), (240, 240, 240)


def soft_disc(size=80, radius=30.0):
    yy, xx = np.mgrid[:size, :size] + 0.5
    distance = np.hypot(xx - size / 2, yy - size / 2)
    return np.clip((radius - distance) / 6 + 0.5, 0, 1)  # an edge six pixels wide


def cut_from(alpha, colour=OBJECT, place=OLD):
    seen = alpha[..., None] * colour + (1 - alpha[..., None]) * place
    rgba = np.dstack([seen, 255 * alpha])
    return np.rint(rgba * (alpha > 0)[..., None]).astype(np.uint8)


def test_soft_edges_lose_the_old_background():
    alpha = soft_disc()
    truth = alpha[..., None] * OBJECT + (1 - alpha[..., None]) * NEW
    rim = (alpha > 0) & (alpha < 1)
    cutout = cut_from(alpha)
    errors = []
    for rgba in (cutout, clean_edges(cutout)):
        over = alpha[..., None] * rgba[..., :3] + (1 - alpha[..., None]) * NEW
        errors.append(np.abs(over - truth)[rim].mean())
    assert errors[1] < 0.2 * errors[0]


def test_what_is_clean_stays():
    alpha = soft_disc()
    right = np.dstack([np.full((80, 80, 3), OBJECT), 255 * alpha]).astype(np.uint8)
    right[alpha == 0] = 0
    cleaned = clean_edges(right)
    np.testing.assert_array_equal(cleaned[..., 3], right[..., 3])
    assert np.abs(cleaned.astype(int) - right)[right[..., 3] > 2].max() <= 2


def test_hard_edges_become_soft_by_a_pixel_and_colours_stay():
    hard = np.zeros((40, 40, 4), np.uint8)
    hard[8:32, 8:32] = (*OBJECT, 255)
    cleaned = clean_edges(hard)
    np.testing.assert_array_equal(cleaned[..., :3], hard[..., :3])
    row = cleaned[20, :, 3]
    assert (row[:8] == 0).all()
    assert 100 < row[8] < 200 < row[9]
    assert (row[10:30] == 255).all()
    # Where the picture ends and the object goes on there is no edge.
    cropped = clean_edges(hard[:, 8:], continued=(True, False, False, False))
    assert (cropped[12:28, :10, 3] == 255).all()
    assert clean_edges(hard[:, 8:])[20, 0, 3] < 200


def test_harmonising_moves_colours_to_the_surroundings_within_bounds():
    rng = np.random.default_rng(0)
    photo = (rng.integers(0, 40, (60, 60, 3)) + np.array([20, 60, 120])).astype(np.uint8)
    rgba = np.full((20, 20, 4), 255, np.uint8)
    rgba[..., :3] = rng.integers(0, 40, (20, 20, 3)) + np.array([200, 120, 40])
    box = (20, 20, 40, 40)
    lab = lambda rgb: cv2.cvtColor(rgb[..., :3] / np.float32(255), cv2.COLOR_RGB2LAB).reshape(-1, 3).mean(0)  # noqa: E731
    moved = [match_surroundings(photo, rgba, box, strength=s) for s in (0.0, 0.5, 1.0)]
    distances = [np.linalg.norm(lab(m) - lab(photo)) for m in moved]
    assert distances[0] > distances[1] > distances[2]
    assert (np.abs(lab(moved[2]) - lab(moved[0])) < (26, 13, 13)).all()
    assert np.abs(moved[0].astype(int) - rgba).max() <= 1
    np.testing.assert_array_equal(moved[2][..., 3], rgba[..., 3])


@pytest.mark.parametrize("box", [(0, 0, 10, 10), (-5, -5, 20, 20)])
def test_harmonising_has_nothing_to_learn_from_a_full_frame(box):
    rgba = np.full((10, 10, 4), 255, np.uint8)
    np.testing.assert_array_equal(match_surroundings(np.zeros((10, 10, 3), np.uint8), rgba, box), rgba)


def test_poisson_blending_meets_the_colours_below_at_the_edge_alone():
    """Uniform below gives a uniform cut-out; nothing is demanded at a border of the photograph."""
    under = np.full((60, 60, 3), 100, np.uint8)
    under[:, :6] = 0  # below the cut-out, at the photograph's left border
    rgba = np.full((60, 60, 4), 150, np.uint8)
    rgba[..., 3] = 255
    added = blend_poisson(under, rgba, edges=(True, False, False, False))
    assert np.abs(added[20:40, 25:50] + 50).max() < 12
    bound = blend_poisson(under, rgba, edges=(False,) * 4)
    assert bound[30, 4].mean() < added[30, 4].mean() - 1
    np.testing.assert_array_equal(blend_poisson(under[:5, :5], rgba[:5, :5], edges=(False,) * 4), 0)


def test_shadows_lie_under_what_stands_on_the_ground():
    table = np.zeros((100, 200), np.uint8)
    table[:20] = 255
    table[:, :12] = table[:, -12:] = 255  # two legs
    shade = contact_shadow(table, 200, 100)
    scale = 192 / 200
    pad = round(0.12 * 192)
    ground = shade[pad + round(100 * scale) - 1]
    at = lambda x: ground[pad + round(x * scale)]  # noqa: E731
    assert 0 <= shade.min() <= shade.max() <= 1
    assert at(6) > 0.4
    assert at(6) == pytest.approx(at(194), rel=0.2)
    assert at(100) < 0.1 * at(6)  # the top is far above
    assert shade[pad + 10].max() < 0.01
    for border in (shade[0], shade[-1], shade[:, 0], shade[:, -1]):
        assert not border.any()


def test_shadows_are_drawn_below_the_cutout_and_only_darken():
    photo = np.full((120, 160, 3), 180, np.uint8)
    block = np.full((40, 60, 4), 255, np.uint8)
    out = compose_layers(photo, [Layer(block, (50, 40, 110, 80), shadow=1.0, clean_edges=False)])
    assert (out[40:80, 50:110] == 255).all()
    below = out[80:95, 50:110]
    assert (below <= 180).all()
    assert below[1].max() < 120
    assert (out[:30] == 180).all()
    half = compose_layers(photo, [Layer(block, (50, 40, 110, 80), shadow=0.5, clean_edges=False)])
    assert (half[81, 80] > out[81, 80]).all()
