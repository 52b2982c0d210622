import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fos_jax.compose.layers import Layer, compose_layers, edit_box, layer_rgba, paste_cutout
from fos_jax.errors import InputError


def solid(width, height, colour=(255, 0, 0), alpha=255):
    return np.full((height, width, 4), (*colour, alpha), np.uint8)


def disc(width=60, height=40, colour=(200, 40, 30)):
    yy, xx = np.mgrid[:height, :width]
    out = np.zeros((height, width, 4), np.uint8)
    inside = ((xx + 0.5 - width / 2) / (width / 2)) ** 2 + ((yy + 0.5 - height / 2) / (height / 2)) ** 2 <= 1
    out[inside] = (*colour, 255)
    return out


def plain(width=40, height=30, colour=(0, 0, 100)):
    return np.full((height, width, 3), colour, np.uint8)


def noise(width=90, height=70):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def red_box(image):
    """Half-open rectangle of the red pixels."""
    ys, xs = np.nonzero(image[..., 0] > 60)
    return xs.min(), ys.min(), xs.max() + 1, ys.max() + 1


def over(rgba, photo):
    alpha = rgba[..., 3:] / 255
    return np.rint(rgba[..., :3] * alpha + photo * (1 - alpha)).astype(int)


def hard(cutout, box, **options):
    return Layer(cutout, box, clean_edges=False, **options)


def test_pasting_places_and_keeps_the_photograph():
    photo = plain()
    assert red_box(paste_cutout(photo, solid(40, 80), (10, 5, 30, 25))) == (15, 5, 25, 25)
    assert red_box(paste_cutout(photo, solid(8, 4), (10, 5, 30, 25))) == (10, 15, 30, 25)
    np.testing.assert_array_equal(photo, plain())


def test_alpha_blends_by_hand():
    layer = Layer(solid(2, 2, (200, 100, 0), alpha=51), (0, 0, 2, 2))
    out = compose_layers(plain(), [layer])
    np.testing.assert_array_equal(out[0, 0], [40, 20, 80])  # a fifth of the one, four of the other
    np.testing.assert_array_equal(layer_rgba(plain(), [layer])[0, 0], [200, 100, 0, 51])


def test_later_layers_lie_above():
    layers = [hard(solid(4, 4, colour), (x, 4, x + 4, 8)) for x, colour in ((4, (255, 0, 0)), (6, (0, 255, 0)))]
    out = compose_layers(plain(), layers)
    np.testing.assert_array_equal(out[5, 4:10, 1], [0, 0, 255, 255, 255, 255])
    np.testing.assert_array_equal(layer_rgba(plain(), layers)[5, 3:11, 3], [0, *[255] * 6, 0])


def test_mirrored():
    cutout = solid(8, 8)
    cutout[:, 4:, :3] = (0, 255, 0)
    found = [compose_layers(plain(), [hard(cutout, (0, 0, 8, 8), mirrored=m)])[4, 0] for m in (False, True)]
    np.testing.assert_array_equal(found, [[255, 0, 0], [0, 255, 0]])


def test_views_are_taken_as_they_are():
    photo, cutout = noise(), disc()
    options = {"harmonise": 0.5, "shadow": 0.5, "blend": "poisson"}
    straight = compose_layers(photo, [Layer(cutout, (10, 10, 70, 50), **options)])
    turned = compose_layers(photo[:, ::-1], [Layer(cutout[::-1, ::-1], (20, 10, 80, 50), **options)])
    assert np.abs(turned[:, ::-1].astype(int) - straight).mean() < 1


def test_transparent_margins_do_not_count():
    padded = np.zeros((50, 50, 4), np.uint8)
    padded[20:28, 30:34] = solid(4, 8)
    pasted = [compose_layers(plain(), [Layer(c, (10, 5, 20, 25), shadow=0.5)]) for c in (padded, solid(4, 8))]
    np.testing.assert_array_equal(*pasted)


def test_a_part_beyond_the_photograph_is_cut_off():
    cutout = solid(20, 20)
    cutout[:, 10:, :3] = (0, 255, 0)
    out = compose_layers(plain(), [hard(cutout, (-10, 5, 10, 25))])
    assert (out[5:25, :10] == [0, 255, 0]).all()
    enlarged = compose_layers(plain(), [hard(cutout, (-100_000, -50, 100_040, 50))])
    assert np.abs(enlarged - [127.5, 127.5, 0]).max() <= 1  # 20 px of the middle, a pixel of which is 10,000 wide


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_the_edit_alone_is_the_composite_and_the_rest_stays_bit_for_bit(data):
    photo = noise()
    layers = []
    for _ in range(data.draw(st.integers(1, 2))):
        x0, y0 = data.draw(st.floats(-60, 100)), data.draw(st.floats(-60, 80))
        width, height = data.draw(st.floats(0.3, 150)), data.draw(st.floats(0.3, 150))
        layers.append(
            Layer(
                data.draw(st.sampled_from([disc(), disc(9, 70), solid(5, 5, alpha=100)])),
                (x0, y0, x0 + width, y0 + height),
                mirrored=data.draw(st.booleans()),
                harmonise=data.draw(st.sampled_from([0.0, 0.7])),
                shadow=data.draw(st.sampled_from([0.0, 0.5, 1.0])),
                blend=data.draw(st.sampled_from(["none", "poisson"])),
                clean_edges=data.draw(st.booleans()),
            )
        )
    out, edit = compose_layers(photo, layers), layer_rgba(photo, layers)
    assert out.dtype == edit.dtype == np.uint8
    assert np.abs(over(edit, photo) - out).max() <= 1
    outside = np.ones(photo.shape[:2], bool)
    box = edit_box(layers, photo.shape[1], photo.shape[0])
    if box:
        outside[box[1] : box[3], box[0] : box[2]] = False
    np.testing.assert_array_equal(out[outside], photo[outside])
    assert not edit[outside].any()


def test_large_photographs_are_tiled_without_seams():
    """Taller and wider than a tile; a smooth cut-out much enlarged stays smooth."""
    ramp = np.full((20, 220, 4), 255, np.uint8)
    ramp[..., :3] = np.linspace(0, 250, 220)[None, :, None] * 0.5 + np.linspace(0, 120, 20)[:, None, None]
    photo = np.zeros((300, 8400, 3), np.uint8)
    out = compose_layers(photo, [hard(ramp, (0, 0, 8400, 300))]).astype(int)
    assert np.abs(np.diff(out, axis=0)).max() <= 1
    assert np.abs(np.diff(out, axis=1)).max() <= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"harmonise": 2}, r"layers\[1\].harmonise: got 2"),
        ({"harmonise": float("nan")}, "harmonise"),
        ({"shadow": -1}, "shadow: got -1, expected 0 to 1"),
        ({"blend": "mixed"}, "blend: unknown 'mixed'"),
        ({"box_xyxy_px": (0, 0, 0, 5)}, r"layers\[1\].box: got \(0, 0, 0, 5\)"),
        ({"box_xyxy_px": (0, 0, float("inf"), 5)}, "finite"),
        ({"box_xyxy_px": (0, 0, 5)}, "box: got .* expected four numbers"),
        ({"cutout": solid(2, 2)[..., :3]}, r"cutout: got uint8 \[2, 2, 3\]"),
        ({"cutout": solid(2, 2, alpha=0)}, r"layers\[1\].cutout: .*transparent"),
    ],
)
def test_meaningless_layers(change, message):
    fine = {"cutout": solid(2, 2), "box_xyxy_px": (0, 0, 5, 5)}
    with pytest.raises(InputError, match=message):
        compose_layers(plain(), [Layer(**fine), Layer(**(fine | change))])
