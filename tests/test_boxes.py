import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fos_jax import boxes
from fos_jax.errors import InputError


def test_a_good_box_comes_back_as_plain_integers():
    box = boxes.check_box_xyxy_px(np.array([0, 1.0, 20, 10], np.float32), 20, 10)
    assert box == (0, 1, 20, 10)
    assert all(type(value) is int for value in box)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0, 0, 0, 5), "x0 < x1"),
        ((5, 0, 2, 5), "x0 < x1"),
        ((0, 5, 2, 5), "y0 < y1"),
        ((-1, 0, 2, 5), "inside the image of 20 x 10"),
        ((0, 0, 21, 5), "inside the image of 20 x 10"),
        ((0, 0, 2, 11), "inside the image of 20 x 10"),
        ((30, 30, 40, 40), "inside the image"),
        ((0, 0, math.nan, 5), "finite"),
        ((0, 0, math.inf, 5), "finite"),
        ((0, 0, 10**400, 5), "hundreds of digits"),
        ((0.5, 0, 2, 5), "whole pixels"),
        ((0, 0, 5), "four"),
        ((0, 0, 5, 5, 5), "four"),
        ("abcd", "four numbers"),
        (None, "four numbers"),
        (7, "four numbers"),
    ],
)
def test_bad_boxes_are_named(box, expected):
    with pytest.raises(InputError, match=expected) as caught:
        boxes.check_box_xyxy_px(box, 20, 10, where="--box")
    assert str(caught.value).startswith("--box: got")
    assert "\n" not in str(caught.value)


def test_parse():
    assert boxes.parse_box_xyxy_px("1,2, 3,4") == (1, 2, 3, 4)
    for text in ("", "1,2,3", "1,2,3,4,5", "a,b,c,d", "1,2,3,4.5", "nan,1,2,3"):
        with pytest.raises(InputError, match="--box: got"):
            boxes.parse_box_xyxy_px(text, where="--box")


def test_conversions_by_hand():
    np.testing.assert_array_equal(
        boxes.box_xyxy_px_to_yxyx_norm((5, 2, 10, 8), 20, 10), np.float32([0.2, 0.25, 0.8, 0.5])
    )
    assert boxes.box_yxyx_norm_to_xyxy_px([0.2, 0.25, 0.8, 0.5], 20, 10) == (5, 2, 10, 8)
    assert boxes.box_xywh_px_to_xyxy_px([4.3, 2.7, 5.1, 3.0], 20, 10) == (4, 2, 10, 6)
    assert boxes.box_xywh_px_to_xyxy_px([-0.5, 0, 30, 4], 20, 10) == (0, 0, 20, 4)


@pytest.mark.parametrize("box", [[0.5, 0.5, 0.5, 0.6], [0, 0, 1.1, 1], [-0.1, 0, 1, 1], [0, 0, math.nan, 1], [0, 0, 1]])
def test_bad_fractions_are_refused(box):
    with pytest.raises(InputError, match="feature box: "):
        boxes.box_yxyx_norm_to_xyxy_px(box, 20, 10, where="feature box")


@pytest.mark.parametrize("box", [[0, 0, 0, 5], [0, 0, 5, -1], [20, 0, 5, 5], [0, -9, 5, 9], [0, 0, math.nan, 1]])
def test_bad_coco_boxes_are_refused(box):
    with pytest.raises(InputError, match="bbox: got"):
        boxes.box_xywh_px_to_xyxy_px(box, 20, 10, where="bbox")


@st.composite
def _box_in_image(draw):
    width, height = draw(st.integers(1, 3000)), draw(st.integers(1, 3000))
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return (x0, y0, draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))), width, height


@given(_box_in_image())
def test_pixels_survive_the_way_through_fractions(case):
    box, width, height = case
    assert boxes.box_yxyx_norm_to_xyxy_px(boxes.box_xyxy_px_to_yxyx_norm(box, width, height), width, height) == box


@given(st.tuples(*[st.floats(0, 1)] * 4), st.integers(1, 50), st.integers(1, 50))
def test_fractions_give_boxes_that_pass_the_check(fractions, width, height):
    y0, x0, y1, x1 = fractions
    if y0 < y1 and x0 < x1:
        box = boxes.box_yxyx_norm_to_xyxy_px(fractions, width, height)
        assert boxes.check_box_xyxy_px(box, width, height) == box
    else:
        with pytest.raises(InputError):
            boxes.box_yxyx_norm_to_xyxy_px(fractions, width, height)
