import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fos_jax.cutouts.cutting import Cutout
from fos_jax.cutouts.filters import FILTERS, config_with, default_config, rejected_before_cutting, rejections
from fos_jax.cutouts.measures import Measures, measure, truncated_sides
from fos_jax.cutouts.records import AnnotatedObject
from fos_jax.errors import InputError


def _cutout(mask, *, rgb=None, at=(10, 10), frame=(200, 200), annotated=None):
    height, width = mask.shape
    rgba = np.zeros((height, width, 4), np.uint8)
    rgba[..., :3] = np.random.default_rng(0).integers(0, 256, (height, width, 3)) if rgb is None else rgb
    rgba[..., 3] = mask * 255
    box = (at[0], at[1], at[0] + width, at[1] + height)
    return Cutout("a", "car", rgba, box, annotated, frame, False, {}, "s", "s.jpg", "", None)


def test_size_and_parts_by_hand():
    mask = np.zeros((10, 20), bool)
    mask[:, :6] = True  # 60
    mask[2:4, 10:20] = True  # 20
    measures = measure(_cutout(mask))
    assert (measures.width_px, measures.height_px, measures.area_px) == (20, 10, 80)
    assert measures.largest_part == pytest.approx(60 / 80)
    assert measures.holes == 0
    assert measures.box_agreement == 1


def test_parts_of_a_hundredth_or_more_are_counted():
    mask = np.zeros((40, 60), bool)
    mask[:, :25] = True  # 1000
    mask[0, 30:41] = True  # 11
    mask[10, 30:39] = True  # 9: less than a hundredth of 1025
    mask[20:25, 30] = True  # 5
    assert measure(_cutout(mask)).parts == 2


def test_softness_is_read_of_a_segmenters_mask_only():
    mask = np.ones((10, 10), bool)
    soft = _cutout(mask)
    soft.rgba[:, :2, 3], soft.rgba[:, 2:3, 3], soft.rgba[:, 3, 3] = 0, 100, 200  # outside, below and above the middle
    ready = measure(soft)
    assert (ready.softness, ready.response) == (0, 1)
    found = measure(dataclasses.replace(soft, response=0.7))
    assert found.softness == pytest.approx(20 / 70)
    assert found.response == 0.7
    nothing = measure(dataclasses.replace(_cutout(~mask), response=0.1))
    assert (nothing.area_px, nothing.parts, nothing.softness) == (0, 0, 0)


def test_diagonal_neighbours_are_one_part_and_do_not_leak_into_holes():
    ring = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], bool)
    measures = measure(_cutout(ring))
    assert measures.largest_part == 1
    assert measures.holes == pytest.approx(1 / 5)


def test_holes_by_hand():
    mask = np.ones((10, 10), bool)
    mask[3:5, 3:8] = False  # 10 closed
    mask[0:2, 0:3] = False  # open to the outside
    assert measure(_cutout(mask)).holes == pytest.approx(10 / (84 + 10))


def test_box_agreement_by_hand():
    mask = np.ones((10, 10), bool)
    assert measure(_cutout(mask, annotated=(10, 10, 20, 20))).box_agreement == 1
    assert measure(_cutout(mask, annotated=(15, 10, 25, 20))).box_agreement == pytest.approx(50 / 150)
    assert measure(_cutout(mask, annotated=(50, 50, 60, 60))).box_agreement == 0


def test_sharpness_falls_with_blur_and_exposure_is_read_inside_the_mask():
    import cv2

    noise = np.random.default_rng(1).integers(60, 200, (64, 64, 3)).astype(np.uint8)
    mask = np.ones((64, 64), bool)
    sharp = measure(_cutout(mask, rgb=noise))
    soft = measure(_cutout(mask, rgb=cv2.GaussianBlur(noise, (0, 0), 3)))
    assert sharp.sharpness > 50 * soft.sharpness
    half = np.zeros((64, 64), bool)
    half[:, :32] = True
    rgb = np.where(half[..., None], 255, 128).astype(np.uint8)
    bright = measure(_cutout(half, rgb=rgb))
    assert (bright.luminance, bright.contrast, bright.clipped) == (255, 0, 1)
    flat = measure(_cutout(half, rgb=np.full((64, 64, 3), 128, np.uint8)))
    assert (flat.luminance, flat.sharpness, flat.clipped) == (128, 0, 0)


def test_one_pixel():
    measures = measure(_cutout(np.ones((1, 1), bool)))
    assert (measures.area_px, measures.largest_part, measures.holes) == (1, 1, 0)
    assert np.isfinite([measures.sharpness, measures.contrast]).all()


@pytest.mark.parametrize(
    ("at", "sides"),
    [
        ((10, 10), ()),
        ((0, 10), ("left",)),
        ((2, 10), ("left",)),
        ((3, 10), ()),
        ((10, 1), ("top",)),
        ((80, 10), ("right",)),
        ((78, 10), ("right",)),
        ((77, 10), ()),
        ((10, 90), ("bottom",)),
        ((0, 0), ("left", "top")),
        ((80, 90), ("right", "bottom")),
    ],
)
def test_truncated_sides_by_hand(at, sides):
    mask = np.ones((10, 20), bool)
    box = (at[0], at[1], at[0] + 20, at[1] + 10)
    assert truncated_sides(mask, box, (100, 100), margin_px=2, contact=0.1) == sides


def test_a_corner_that_touches_does_not_cut():
    mask = np.tri(40, 40, dtype=bool)[::-1]  # one pixel in the last row
    assert mask[-1].sum() == 1
    box = (10, 60, 50, 100)
    assert truncated_sides(mask, box, (100, 100), margin_px=0, contact=0.1) == ()
    assert truncated_sides(mask, box, (100, 100), margin_px=0, contact=0.02) == ("bottom",)
    assert truncated_sides(mask, (0, 0, 40, 40), (0, 0), margin_px=2, contact=0.0) == ()  # no photograph


@given(st.integers(0, 2**31))
def test_mirroring_swaps_left_and_right(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((8, 9)) < 0.4
    mask[:, [0, -1]] |= rng.random((8, 2)) < 0.5
    x = int(rng.integers(0, 12))
    sides = truncated_sides(mask, (x, 3, x + 9, 11), (20, 12), margin_px=1, contact=0.3)
    mirrored = truncated_sides(mask[:, ::-1], (11 - x, 3, 20 - x, 11), (20, 12), margin_px=1, contact=0.3)
    swap = {"left": "right", "right": "left"}
    assert {swap.get(side, side) for side in sides} == set(mirrored)


_GOOD = Measures(100, 80, 5000, (), 1.0, 0.0, 500.0, 120.0, 40.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ()),
        ({"height_px": 23}, ("size",)),
        ({"width_px": 47, "height_px": 47}, ("size",)),
        ({"area_px": 799}, ("size",)),
        ({"width_px": 641}, ("size",)),
        ({"truncated": ("left",)}, ()),
        ({"truncated": ("left", "top")}, ("truncated",)),
        ({"largest_part": 0.89}, ("fragmented",)),
        ({"parts": 6}, ("fragmented",)),
        ({"softness": 0.31}, ("soft_edge",)),
        ({"response": 0.49, "softness": 1.0, "area_px": 0}, ("not_found", "soft_edge", "size")),
        ({"holes": 0.21}, ("holes",)),
        ({"box_agreement": 0.49}, ("box_mismatch",)),
        ({"sharpness": 19.0}, ("blurred",)),
        ({"luminance": 10.0}, ("exposure",)),
        ({"luminance": 250.0}, ("exposure",)),
        ({"contrast": 7.0}, ("exposure",)),
        ({"clipped": 0.7}, ("exposure",)),
        ({"area_px": 1, "holes": 1.0, "contrast": 0.0}, ("size", "holes", "exposure")),
    ],
)
def test_each_filter(changes, expected):
    assert rejections(dataclasses.replace(_GOOD, **changes), default_config()) == expected
    assert set(expected) <= set(FILTERS)


def test_thresholds_can_be_changed():
    config = config_with({"size.min_area_px": 9000, "truncated.allowed_sides": ["bottom"], "holes.max_share": 0.5})
    assert rejections(_GOOD, config) == ("size",)
    cut = dataclasses.replace(_GOOD, area_px=9000, truncated=("left",))
    assert rejections(cut, config) == ("truncated",)
    assert rejections(dataclasses.replace(cut, truncated=("bottom",)), config) == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"size.colour": 1},
        {"weight": 1},
        {"size": 5},
        {"size.min_area_px": "many"},
        {"size.min_area_px": float("nan")},
        {"near_duplicate.max_distance_bits": 40},
        {"truncated.allowed_sides": ["upper"]},
        [1],
    ],
)
def test_thresholds_that_cannot_be_meant(changes):
    with pytest.raises(InputError):
        config_with(changes)


def _annotated(box, is_crowd=False):
    return AnnotatedObject("a", "car", box, [[0, 0, 1, 1, 0, 1]], is_crowd, {}, "w")


def test_rejected_by_annotation_alone():
    config = default_config()
    assert rejected_before_cutting(_annotated((0, 0, 100, 100), True), config) == "crowd"
    assert rejected_before_cutting(_annotated((0, 0, 100, 11)), config) == "size"
    assert rejected_before_cutting(_annotated((0, 0, 100, 12)), config) == ""  # the mask may be twice as high
    assert rejected_before_cutting(_annotated(None), config) == ""


@given(st.tuples(*[st.integers(1, 70)] * 4), st.integers(0, 40), st.integers(0, 40))
def test_what_falls_by_its_annotation_would_have_fallen(sides, x, y):
    width, height, annotated_width, annotated_height = sides
    config = default_config()
    annotated = (x, y, x + annotated_width, y + annotated_height)
    if rejected_before_cutting(_annotated(annotated), config):
        cutout = _cutout(np.ones((height, width), bool), at=(10, 10), annotated=annotated)
        assert {"size", "box_mismatch"} & set(rejections(measure(cutout), config))
