import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fos_jax.cutouts.masks import decode_counts, decode_mask
from fos_jax.errors import InputError

coco_mask = pytest.importorskip("pycocotools.mask")


def _whole(segmentation, width, height):
    (x0, y0, x1, y1), part = decode_mask(segmentation, width, height, where="m")
    assert part.any(axis=0)[[0, -1]].all()
    assert part.any(axis=1)[[0, -1]].all()
    mask = np.zeros((height, width), bool)
    mask[y0:y1, x0:x1] = part
    return mask


def test_runs_by_hand():
    # 3 wide, 2 high, down the columns: 1 off, 2 on, 3 off -> (row 1, column 0) and (row 0, column 1)
    expected = np.array([[0, 1, 0], [1, 0, 0]], bool)
    np.testing.assert_array_equal(_whole({"size": [2, 3], "counts": [1, 2, 3]}, 3, 2), expected)
    np.testing.assert_array_equal(decode_counts("123", where="m"), [1, 2, 3])
    box, part = decode_mask({"size": [2, 3], "counts": [1, 2, 3]}, 3, 2, where="m")
    assert box == (0, 0, 2, 2)
    np.testing.assert_array_equal(part, expected[:, :2])


def test_square_polygon_by_hand():
    mask = _whole([[1, 1, 4, 1, 4, 3, 1, 3]], 6, 5)
    expected = np.zeros((5, 6), bool)
    expected[1:3, 1:4] = True
    np.testing.assert_array_equal(mask, expected)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**31), st.floats(0.02, 1))
def test_runs_as_pycocotools_reads_them(height, width, seed, density):
    mask = np.random.default_rng(seed).random((height, width)) < density
    if not mask.any():
        mask[0, 0] = True
    packed = coco_mask.encode(np.asfortranarray(mask.view(np.uint8)))
    text = packed["counts"].decode()
    np.testing.assert_array_equal(_whole({"size": [height, width], "counts": text}, width, height), mask)
    counts = decode_counts(text, where="m").tolist()
    np.testing.assert_array_equal(_whole({"size": [height, width], "counts": counts}, width, height), mask)


def test_long_runs_and_differences_as_pycocotools_reads_them():
    mask = np.zeros((700, 900), bool)
    mask[100:650, 30:870] = True
    mask[::7, ::5] ^= True
    packed = coco_mask.encode(np.asfortranarray(mask.view(np.uint8)))
    segmentation = {"size": [700, 900], "counts": packed["counts"].decode()}
    np.testing.assert_array_equal(_whole(segmentation, 900, 700), mask)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools 2.0.11 with NumPy 2
@given(
    st.lists(st.lists(st.floats(-5, 45).map(lambda v: round(v, 2)), min_size=6, max_size=14), min_size=1, max_size=3)
)
def test_polygons_as_pycocotools_fills_them(polygons):
    polygons = [polygon[: len(polygon) // 2 * 2] for polygon in polygons]
    expected = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, 30, 40))).astype(bool)
    if expected.any():
        np.testing.assert_array_equal(_whole(polygons, 40, 30), expected)
    else:
        with pytest.raises(InputError, match="covers no pixel"):
            decode_mask(polygons, 40, 30, where="m")


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        (None, "expected polygons"),
        ([], "expected polygons"),
        ("text", "expected polygons"),
        ([[1, 2, 3, 4]], "three points"),
        ([[1, 2, 3, 4, 5, 6, 7]], "three points"),
        ([[1, 2, 3, 4, 5, "6"]], "expected numbers"),
        ([[1, 2, 3, 4, 5, True]], "expected numbers"),
        ([[1, 2, 3, 4, 5, float("nan")]], "finite"),
        ([[1, 2, 3, 4, 5, 10**400]], "finite"),
        ([[1, 2, 3, 4, 5, 1e9]], "far outside"),
        ([[0, 0, 39, 29, 0, 29] * 3000], "outline"),
        ({"size": [30, 40]}, "counts are"),
        ({"size": [40, 30], "counts": [1200]}, "expected \\[30, 40\\]"),
        ({"size": [10**6, 10**6], "counts": [10**12]}, "size is"),  # a bomb by its own size
        ({"size": [30, 40], "counts": [1200]}, "no pixel"),
        ({"size": [30, 40], "counts": [1, 10**12]}, "counts are"),
        ({"size": [30, 40], "counts": [1, 2]}, "do not sum"),
        ({"size": [30, 40], "counts": [1, -2, 1201]}, "counts are"),
        ({"size": [30, 40], "counts": [1.0, 1199]}, "counts are"),
        ({"size": [30, 40], "counts": [600, True, 599]}, "counts are"),
        ({"size": [30, 40], "counts": "\x00\x01"}, "not compressed"),
        ({"size": [30, 40], "counts": "oooooooooo1"}, "35 bits"),
        ({"size": [30, 40], "counts": "ooo"}, "not compressed"),
        ({"size": [30, 40], "counts": "Ü1"}, "not compressed"),
        ({"size": [30, 40], "counts": ""}, "do not sum"),
        ({"size": [30, 40], "counts": []}, "do not sum"),
    ],
)
def test_what_is_no_mask(segmentation, reason):
    with pytest.raises(InputError, match=reason) as caught:
        decode_mask(segmentation, 40, 30, where="file: annotations[3].segmentation")
    assert str(caught.value).startswith("file: annotations[3].segmentation")
    assert len(str(caught.value)) < 300


@given(st.text(st.characters(max_codepoint=200), max_size=30))
def test_any_text_is_runs_or_refused(text):
    try:
        mask = _whole({"size": [6, 5], "counts": text}, 5, 6)
    except InputError:
        return
    assert mask.any()
