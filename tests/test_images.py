import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fos_jax import images
from fos_jax.errors import InputError


def _rgb(height=6, width=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def _encode(image: Image.Image, fmt="PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


def _png(width, height, *, depth=8, colour=2, data=b"") -> bytes:
    def chunk(kind, payload):
        return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(data))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


# Modes


def test_rgb_from_every_kind_of_source(tmp_path):
    rgb = _rgb()
    path = tmp_path / "a.png"
    Image.fromarray(rgb).save(path)
    for source in (path, str(path), path.read_bytes(), Image.open(path), Image.fromarray(rgb), rgb):
        np.testing.assert_array_equal(images.read_image(source), rgb)


def test_grey_and_bilevel():
    grey = _rgb()[..., 0]
    np.testing.assert_array_equal(images.read_image(_encode(Image.fromarray(grey))), np.repeat(grey[..., None], 3, -1))
    np.testing.assert_array_equal(images.read_image(grey), np.repeat(grey[..., None], 3, -1))
    bilevel = Image.fromarray(grey).convert("1")
    assert set(np.unique(images.read_image(_encode(bilevel)))) == {0, 255}


def test_sixteen_bit_grey_is_scaled_not_clipped():
    wide = np.array([[0, 257, 32896, 65535]], np.uint16)
    for data in (_encode(Image.fromarray(wide)), _encode(Image.fromarray(wide), "TIFF")):
        np.testing.assert_array_equal(images.read_image(data)[0, :, 1], [0, 1, 128, 255])


def test_sixteen_bit_colour_keeps_its_range():
    pixel = struct.pack(">HHH", 0, 32896, 65535)
    data = _png(1, 1, depth=16, data=b"\x00" + pixel)
    np.testing.assert_array_equal(images.read_image(data)[0, 0], [0, 128, 255])


def test_float_pixels_have_no_known_scale():
    data = _encode(Image.fromarray(np.ones((2, 2), np.float32)), "TIFF")
    with pytest.raises(InputError, match="unknown scale"):
        images.read_image(data, where="f.tif")


def test_cmyk():
    solid = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # no cyan, full magenta and yellow: red
    red = images.read_image(_encode(solid, "JPEG", quality=95))
    assert red[..., 0].min() > 240
    assert red[..., 1:].max() < 20


def test_palette_with_and_without_transparency():
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 0), 1)
    np.testing.assert_array_equal(images.read_image(_encode(image)), [[[255, 0, 0], [0, 255, 0]]])
    transparent = _encode(image, transparency=0)
    np.testing.assert_array_equal(images.read_image(transparent), [[list(images.MEAN_COLOUR), [0, 255, 0]]])
    np.testing.assert_array_equal(images.read_cutout(transparent)[0, :, 3], [0, 255])


def test_grey_with_alpha_is_matted_for_photographs_and_kept_for_cutouts():
    pixels = np.array([[[200, 255], [200, 0]]], np.uint8)
    bands = [Image.fromarray(np.ascontiguousarray(pixels[..., i])) for i in range(2)]
    data = _encode(Image.merge("LA", bands))
    np.testing.assert_array_equal(images.read_image(data)[0, :, 0], [200, 128])
    np.testing.assert_array_equal(images.read_cutout(data)[0, 0], [200, 200, 200, 255])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "I;16"])
def test_exif_orientation_is_applied(orientation, mode):
    upright = np.zeros((4, 6), np.uint8)
    upright[0, :] = 90
    upright[:, 0] = 255  # tells all eight orientations apart
    inverse = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: np.transpose,
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).T,
        8: lambda a: np.rot90(a, -1),
    }
    stored = np.ascontiguousarray(inverse[orientation](upright))
    image = Image.fromarray(stored).convert("RGB") if mode == "RGB" else Image.fromarray(stored.astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(images.read_image(_encode(image, exif=exif))[..., 0], upright)


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for fmt in ("GIF", "PNG", "WEBP"):
        options = {"lossless": True} if fmt == "WEBP" else {}
        data = _encode(frames[0], fmt, save_all=True, append_images=frames[1:], **options)
        assert images.read_image(data)[0, 0, 0] > 200, fmt


# What cannot be used


def _bad_files():
    good = _encode(Image.fromarray(_rgb(60, 80)))
    jpeg = _encode(Image.fromarray(_rgb(60, 80)), "JPEG")
    return {
        "empty": b"",
        "text": b"this is no image",
        "truncated.png": good[: len(good) // 2],
        "truncated.jpg": jpeg[: len(jpeg) // 2],
        "header only.png": good[:20],
        "flipped.png": good[:200] + bytes(100) + good[300:],
        "zero size.png": _png(0, 5),
        "bomb.png": _png(60_000, 60_000),
        "big.png": _png(12_000, 12_000),
        "vector.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    }


@pytest.mark.parametrize("name", _bad_files())
def test_unusable_files_are_named_in_one_line(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(_bad_files()[name])
    for read in (images.read_image, images.read_cutout):
        with pytest.raises(InputError) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)


def test_the_limit_on_pixels_is_the_callers():
    data = _encode(Image.fromarray(_rgb(10, 10)))
    assert images.read_image(data, max_pixels=100).shape == (10, 10, 3)
    with pytest.raises(InputError, match="10 x 10 px, expected at most 99 pixels"):
        images.read_image(data, max_pixels=99)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.png: cannot be read"):
        images.read_image(tmp_path / "nothing.png")
    with pytest.raises(InputError, match="cannot be read"):
        images.read_image(tmp_path)
    with pytest.raises(InputError, match="got a int, expected a path"):
        images.read_image(7)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros(4, np.uint8),
    ],
)
def test_arrays_that_are_no_images(array):
    with pytest.raises(InputError, match="expected uint8"):
        images.read_image(array)


def test_cutouts_need_alpha_and_something_to_see():
    with pytest.raises(InputError, match="no alpha channel"):
        images.read_cutout(_rgb())
    assert (images.read_cutout(_rgb(), allow_opaque=True)[..., 3] == 255).all()
    with pytest.raises(InputError, match="wholly transparent"):
        images.read_cutout(np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(InputError, match="wholly transparent"):
        images.prepare_cutout(np.zeros((4, 4, 4), np.uint8), 8)


@given(st.data())
def test_damaged_files_never_raise_anything_else(data):
    good = bytearray(
        _encode(Image.fromarray(_rgb(9, 9)), data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "WEBP"])))
    )
    for _ in range(data.draw(st.integers(1, 6))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        image = images.read_image(bytes(good))
    except InputError:
        return  # any other exception fails the test
    assert image.dtype == np.uint8
    assert image.shape[2] == 3


# The two forms in which models see images


def test_png_round_trip():
    for pixels in (_rgb(), np.concatenate([_rgb(), _rgb(seed=1)[..., :1]], -1)):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(images.encode_png(pixels)))), pixels)


def test_matte_by_hand():
    rgba = np.array([[[200, 0, 100, 255], [200, 0, 100, 0], [228, 28, 128, 51]]], np.uint8)
    np.testing.assert_array_equal(images.matte(rgba)[0], [[200, 0, 100], [128, 128, 128], [148, 108, 128]])


def test_hidden_colours_do_not_bleed_into_the_edge():
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[:, :, 0] = 255  # red hides where alpha is 0
    rgba[:, :2] = (0, 0, 255, 255)
    small = images.resize_rgba(rgba, 1, 1)
    np.testing.assert_array_equal(small[0, 0], [0, 0, 255, 128])


def test_prepare_cutout_crops_centres_and_mats():
    rgba = np.zeros((20, 30, 4), np.uint8)
    rgba[..., 0] = 255
    rgba[3:11, 5:9] = (10, 20, 30, 255)  # 8 high, 4 wide
    out = images.prepare_cutout(rgba, 16)
    assert out.shape == (16, 16, 4)
    np.testing.assert_array_equal(
        out[..., 3] == 255, (np.arange(16) >= 4)[None] & (np.arange(16) < 12)[None] & np.ones((16, 1), bool)
    )
    np.testing.assert_array_equal(out[0, 0], [128, 128, 128, 0])
    np.testing.assert_array_equal(out[8, 8], [10, 20, 30, 255])


def test_a_prepared_cutout_passes_unchanged_but_for_soft_edges():
    y, x = np.mgrid[:64, :64]
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[..., :3] = _rgb(64, 64)
    rgba[..., 3] = 255 * ((x - 30) ** 2 + 2 * (y - 30) ** 2 < 400)
    once = images.prepare_cutout(rgba, 48)
    twice = images.prepare_cutout(once, 48)
    np.testing.assert_array_equal(once[..., 3], twice[..., 3])
    is_hard = np.isin(once[..., 3], (0, 255))
    np.testing.assert_array_equal(once[is_hard], twice[is_hard])
    assert np.abs(once.astype(int) - twice).max() <= 32


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1)])
def test_extreme_cutouts_keep_a_pixel(shape):
    out = images.prepare_cutout(np.full((*shape, 4), 255, np.uint8), 16)
    assert out.shape == (16, 16, 4)
    assert out[..., 3].max() == 255


def test_a_square_photograph_passes_whole():
    rgb = _rgb(32, 32)
    image, box = images.prepare_query(rgb, (8, 4, 16, 32), 32)
    np.testing.assert_array_equal(image, rgb)
    np.testing.assert_array_equal(box, np.float32([4, 8, 32, 16]) / 32)


@pytest.mark.parametrize(("box", "left"), [((2, 0, 6, 4), 0), ((13, 0, 17, 4), 10), ((26, 0, 30, 4), 20)])
def test_the_window_follows_the_rectangle_as_far_as_the_frame_allows(box, left):
    rgb = _rgb(10, 30)
    image, inside = images.prepare_query(rgb, box, 10)
    np.testing.assert_array_equal(image, rgb[:, left : left + 10])
    np.testing.assert_allclose(inside[[1, 3]], [(box[0] - left) / 10, (box[2] - left) / 10])


def test_a_rectangle_longer_than_the_short_side_is_padded():
    rgb = np.full((10, 30, 3), 7, np.uint8)
    image, inside = images.prepare_query(rgb, (2, 3, 22, 9), 20)
    assert (image[5:15] == 7).all()
    assert (image[:5] == 128).all()
    assert (image[15:] == 128).all()
    np.testing.assert_allclose(inside, np.float32([8, 0, 14, 20]) / 20)


def test_a_bad_rectangle_is_named():
    with pytest.raises(InputError, match="--box: got"):
        images.prepare_query(_rgb(10, 30), (0, 0, 31, 5), 20, where="--box")


@given(st.data())
def test_the_window_shows_the_rectangles_own_pixels(data):
    width, height = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x1, y1 = data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))
    rgb = _rgb(height, width)
    side = max(min(width, height), x1 - x0, y1 - y0)
    image, box = images.prepare_query(rgb, (x0, y0, x1, y1), side)  # same scale: pixels can be compared
    top, left, bottom, right = np.rint(box * side).astype(int)
    np.testing.assert_array_equal(image[top:bottom, left:right], rgb[y0:y1, x0:x1])
