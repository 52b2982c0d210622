import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fos_jax.compose import fitted_size, match_surroundings, paste_cutout
from fos_jax.errors import InputError


def _solid(width, height, colour=(255, 0, 0), alpha=255):
    return np.full((height, width, 4), (*colour, alpha), np.uint8)


def _photo(width=40, height=30, colour=(0, 0, 100)):
    return np.full((height, width, 3), colour, np.uint8)


def _red_box(image):
    """Half-open rectangle of the red pixels."""
    ys, xs = np.nonzero(image[..., 0] > 127)
    return xs.min(), ys.min(), xs.max() + 1, ys.max() + 1


def test_contain_fills_one_side_and_stands_at_the_bottom_centre():
    out = paste_cutout(_photo(), _solid(4, 8), (10, 5, 30, 25))
    assert _red_box(out) == (15, 5, 25, 25)
    out = paste_cutout(_photo(), _solid(8, 4), (10, 5, 30, 25))
    assert _red_box(out) == (10, 15, 30, 25)


def test_anchor():
    assert _red_box(paste_cutout(_photo(), _solid(4, 8), (10, 5, 30, 25), anchor=(0, 0))) == (10, 5, 20, 25)


def test_stretch_and_cover_fill_the_rectangle():
    for fit in ("stretch", "cover"):
        assert _red_box(paste_cutout(_photo(), _solid(4, 8), (10, 5, 30, 25), fit=fit)) == (10, 5, 30, 25)


def test_cover_keeps_the_aspect_and_cuts_the_top_off():
    cutout = _solid(4, 8)
    cutout[:4, :, :3] = (0, 255, 0)  # the upper half is green
    out = paste_cutout(_photo(), cutout, (10, 5, 30, 25), fit="cover")
    assert _red_box(out) == (10, 5, 30, 25)  # 20 x 40 px, the lower 20 of which are seen


def test_transparent_margins_do_not_count():
    padded = np.zeros((50, 50, 4), np.uint8)
    padded[20:28, 30:34] = _solid(4, 8)
    np.testing.assert_array_equal(
        paste_cutout(_photo(), padded, (10, 5, 30, 25)), paste_cutout(_photo(), _solid(4, 8), (10, 5, 30, 25))
    )


def test_alpha_blends_by_hand():
    out = paste_cutout(_photo(colour=(0, 0, 100)), _solid(2, 2, (200, 100, 0), alpha=51), (0, 0, 2, 2))
    np.testing.assert_array_equal(out[0, 0], [40, 20, 80])  # a fifth of the one, four of the other


def test_the_photograph_is_left_alone():
    photo = _photo()
    paste_cutout(photo, _solid(2, 2), (0, 0, 9, 9))
    np.testing.assert_array_equal(photo, _photo())


@given(st.data())
def test_nothing_outside_the_rectangle_changes(data):
    photo = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    x0, y0 = data.draw(st.integers(0, 29)), data.draw(st.integers(0, 19))
    box = (x0, y0, data.draw(st.integers(x0 + 1, 30)), data.draw(st.integers(y0 + 1, 20)))
    cutout = _solid(data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40)))
    fit = data.draw(st.sampled_from(["contain", "cover", "stretch"]))
    out = paste_cutout(photo, cutout, box, fit=fit, harmonise=data.draw(st.sampled_from([0.0, 0.5])))
    changed = (out != photo).any(axis=-1)
    changed[box[1] : box[3], box[0] : box[2]] = False
    assert not changed.any()
    assert out.dtype == np.uint8


@given(*[st.integers(1, 500)] * 4)
def test_contain_lies_within_cover_and_each_touches_a_side(width, height, box_width, box_height):
    small = fitted_size(width, height, box_width, box_height, fit="contain")
    large = fitted_size(width, height, box_width, box_height, fit="cover")
    assert small[0] <= box_width <= large[0]
    assert small[1] <= box_height <= large[1]
    assert small[0] == box_width or small[1] == box_height
    assert large[0] == box_width or large[1] == box_height


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fit": "wrap"}, "fit: unknown 'wrap'"),
        ({"harmonise": 2}, "harmonise: got 2"),
        ({"harmonise": -1}, "harmonise"),
    ],
)
def test_unknown_options(options, message):
    with pytest.raises(InputError, match=message):
        paste_cutout(_photo(), _solid(2, 2), (0, 0, 5, 5), **options)


def test_bad_rectangles_and_invisible_cutouts():
    with pytest.raises(InputError, match="box: got"):
        paste_cutout(_photo(), _solid(2, 2), (0, 0, 41, 5))
    with pytest.raises(InputError, match="transparent"):
        paste_cutout(_photo(), _solid(2, 2, alpha=0), (0, 0, 5, 5))


def test_harmonising_moves_colours_to_the_surroundings():
    rng = np.random.default_rng(0)
    photo = (rng.integers(0, 40, (60, 60, 3)) + np.array([20, 60, 120])).astype(np.uint8)
    layer = np.full((20, 20, 4), 255, np.uint8)
    layer[..., :3] = rng.integers(0, 40, (20, 20, 3)) + np.array([200, 120, 40])
    box = (20, 20, 40, 40)
    goal = photo.reshape(-1, 3).mean(0)
    distances = [
        np.abs(match_surroundings(photo, layer, box, strength=s)[..., :3].reshape(-1, 3).mean(0) - goal).max()
        for s in (0.0, 0.5, 1.0)
    ]
    assert distances[0] > 60
    assert distances[0] > distances[1] > distances[2]
    assert distances[2] < 8
    np.testing.assert_array_equal(match_surroundings(photo, layer, box)[..., 3], layer[..., 3])


def test_harmonising_has_nothing_to_learn_from_a_full_frame():
    layer = _solid(10, 10)
    np.testing.assert_array_equal(match_surroundings(_photo(10, 10), layer, (0, 0, 10, 10)), layer)
