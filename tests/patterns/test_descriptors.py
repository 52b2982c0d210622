import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.cutouts.extraction import extract
from fos_jax.cutouts.filters import default_config
from fos_jax.errors import InputError
from fos_jax.images import prepare_cutout
from fos_jax.patterns.descriptors import (
    describe,
    gradient_descriptor,
    keypoint_block,
    shape_descriptor,
    viewpoint_block,
)


def test_shape_of_a_rectangle_by_hand():
    mask = np.zeros((30, 50), bool)
    mask[5:15, 10:30] = True  # 20 wide, 10 high
    aspect, extent, solidity, nu20, nu11, nu02, *skew = shape_descriptor(mask)[:10]
    assert aspect == pytest.approx(np.log(2))
    assert extent == 1
    assert solidity == pytest.approx(1)
    # mu20 = height * sum((x - mean)^2) over 20 pixels; nu20 = mu20 / area^2
    assert nu20 == pytest.approx(10 * sum((x - 9.5) ** 2 for x in range(20)) / 200**2)
    assert nu02 == pytest.approx(20 * sum((y - 4.5) ** 2 for y in range(10)) / 200**2)
    assert [nu11, *skew] == pytest.approx([0] * 5, abs=1e-6)


@given(st.integers(0, 2**31), st.integers(0, 5), st.integers(0, 5))
def test_shape_forgets_place_and_remembers_side(seed, dx, dy):
    mask = np.random.default_rng(seed).random((7, 9)) < 0.5
    mask[3, 4] = True
    placed = np.zeros((20, 20), bool)
    placed[dy : dy + 7, dx : dx + 9] = mask
    np.testing.assert_allclose(shape_descriptor(placed), shape_descriptor(mask), atol=1e-5)
    mirrored = shape_descriptor(mask[:, ::-1])
    odd = [4, 6, 8]  # nu11, nu30, nu12 change their sign
    expected = shape_descriptor(mask)
    expected[odd] *= -1
    np.testing.assert_allclose(mirrored[:10], expected[:10], atol=1e-5)


def test_shape_of_nothing_and_of_one_pixel():
    with pytest.raises(ValueError, match="empty"):
        shape_descriptor(np.zeros((3, 3), bool))
    assert np.isfinite(shape_descriptor(np.ones((1, 1), bool))).all()


def test_gradients_are_unit_and_tell_directions_apart():
    ramp = np.zeros((64, 64, 4), np.uint8)
    ramp[..., 3] = 255
    ramp[..., :3] = np.arange(64, dtype=np.uint8)[None, :, None] * 3
    right = gradient_descriptor(prepare_cutout(ramp, 64))
    left = gradient_descriptor(prepare_cutout(ramp[:, ::-1], 64))
    half = len(right) // 2
    assert np.linalg.norm(right[:half]) == pytest.approx(1, abs=1e-5)
    assert right[:half] @ left[:half] == pytest.approx(0, abs=1e-5)
    assert right[:half].reshape(64, 8).sum(0).argmax() == 0  # brighter to the right: angle 0
    with pytest.raises(ValueError, match="64, 64, 4"):
        gradient_descriptor(ramp[:32])


def test_keypoints_by_hand():
    points = [30, 20, 2, 0, 0, 0, 20, 30, 1]
    block = keypoint_block([{"keypoints": points}, {}, {"keypoints": [0] * 9}], [(10, 10, 30, 30)] * 3)
    np.testing.assert_allclose(block[0], [0.5, 0, 1, 0, 0, 0, 0, 0.5, 0.5])
    assert np.isnan(block[1:]).all()  # none annotated, none labelled
    with pytest.raises(InputError, match="same multiple of 3"):
        keypoint_block([{"keypoints": points}, {"keypoints": points[:6]}], [(0, 0, 1, 1)] * 2)
    with pytest.raises(InputError, match="no numbers"):
        keypoint_block([{}], [(0, 0, 1, 1)])
    assert np.isnan(keypoint_block([{"keypoints": [float("nan")] * 3}], [(0, 0, 1, 1)])).all()


def test_viewpoints_by_hand():
    rows = [{"azimuth_deg": 90, "polar_deg": 90}, {"azimuth_deg": 90, "polar_deg": 0}, {"azimuth_deg": "left"}]
    block = viewpoint_block(rows)
    np.testing.assert_allclose(block[:2], [[1, 0, 1, 0], [0, 0, 0, 1]], atol=1e-6)
    assert np.isnan(block[2]).all()
    with pytest.raises(InputError, match="azimuth_deg"):
        viewpoint_block([{}])


def test_describe_a_set(coco_folder, tmp_path):
    path, images = coco_folder(photographs=2)
    source = {"kind": "coco", "annotations": str(path), "images": str(images)}
    extract(tmp_path / "out", source, default_config(), progress=False)
    cutouts = CutoutSet(tmp_path / "out")
    calls = []

    def embed(batch, categories):
        calls.append((batch.shape, list(categories)))
        return batch.reshape(len(batch), -1)[:, :5].astype(np.float32)

    names = ("embedding", "gradients", "shape", "truncation")
    blocks = describe(cutouts, names, embed=embed, embed_side_px=16, progress=False)
    assert list(blocks) == list(names)
    assert {name: block.shape for name, block in blocks.items()} == {
        "embedding": (4, 5),
        "gradients": (4, 1024),
        "shape": (4, 17),
        "truncation": (4, 4),
    }
    assert calls == [((4, 16, 16, 4), cutouts.column("category"))]
    with pytest.raises(InputError, match="needs an encoder"):
        describe(cutouts, ["embedding"], progress=False)
    with pytest.raises(InputError, match="colour"):
        describe(cutouts, ["colour"], progress=False)
