import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fos_jax.boxes import SIDES
from fos_jax.compose.placement import contact_row, placement
from fos_jax.errors import InputError

BOX = (10, 5, 30, 25)  # inside a photograph of 100 x 80 px


def solid(width, height):
    return np.full((height, width, 4), 255, np.uint8)


def test_it_fills_one_side_and_stands_at_the_bottom_in_the_middle():
    assert placement(solid(4, 8), BOX, 100, 80) == (15, 5, 25, 25)
    assert placement(solid(8, 4), BOX, 100, 80) == (10, 15, 30, 25)
    padded = np.pad(solid(4, 8), ((20, 3), (9, 2), (0, 0)))
    assert placement(padded, BOX, 100, 80) == (15, 5, 25, 25)


@pytest.mark.parametrize(
    ("truncated", "box", "size", "expected"),
    [
        (("left",), (1, 5, 31, 25), (4, 8), (0, 5, 10, 25)),  # to the picture's edge, a pixel off
        (("right",), (70, 5, 99, 25), (4, 8), (90, 5, 100, 25)),
        (("left",), BOX, (4, 8), (15, 5, 25, 25)),  # the rectangle touches no edge
        (("bottom",), (10, 58, 30, 79), (8, 4), (10, 70, 30, 80)),
        (("top",), (10, 0, 30, 25), (8, 8), (7.5, 0, 32.5, 25)),  # from the top to the ground, wider than the rectangle
        (("top", "bottom"), (10, 0, 50, 80), (4, 8), (10, 0, 50, 80)),
        (("left", "right"), (0, 20, 100, 60), (4, 2), (0, 10, 100, 60)),
        (("left", "right"), (0, 20, 100, 60), (2, 4), (30, -20, 70, 60)),  # twice what fits the height, and no more
    ],
)
def test_cut_sides_reach_the_pictures_edge(truncated, box, size, expected):
    assert placement(solid(*size), box, 100, 80, truncated=truncated) == pytest.approx(expected)


def test_stray_pixels_hang_below_the_ground():
    cutout = np.zeros((100, 100, 4), np.uint8)
    cutout[:97, :] = 255
    cutout[97:, 50] = 255  # a tip, 3 % of the height and 1 % of the width
    assert contact_row(cutout[..., 3]) == 97
    x0, y0, x1, y1 = placement(cutout, (0, 0, 200, 97), 300, 300)
    assert (x0, y0, x1, y1) == (50, 0, 150, 100)
    cutout[80:] = 0
    cutout[80:, 50] = 255  # a pole is no stray tip
    assert contact_row(cutout[..., 3]) == 100


@given(st.data())
def test_the_aspect_is_kept_and_the_rectangle_is_touched(data):
    size = data.draw(st.tuples(st.integers(1, 60), st.integers(1, 60)))
    x0, y0 = data.draw(st.integers(0, 99)), data.draw(st.integers(0, 79))
    box = (x0, y0, data.draw(st.integers(x0 + 1, 100)), data.draw(st.integers(y0 + 1, 80)))
    truncated = data.draw(st.none() | st.sets(st.sampled_from(SIDES)))
    a, b, c, d = placement(solid(*size), box, 100, 80, truncated=truncated)
    assert (c - a) * size[1] == pytest.approx((d - b) * size[0])
    near = [edge if abs(value - edge) <= 2 else value for value, edge in zip(box, (0, 0, 100, 80), strict=True)]
    assert any(abs(u - v) < 1e-6 for goal in (box, near) for u, v in zip((a, b, c, d), goal, strict=True))


def test_unusable():
    with pytest.raises(InputError, match="inside the image"):
        placement(solid(4, 8), (10, 5, 30, 81), 100, 80)
    with pytest.raises(InputError, match="transparent"):
        placement(np.zeros((4, 4, 4), np.uint8), BOX, 100, 80)
