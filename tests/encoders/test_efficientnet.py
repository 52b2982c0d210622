"""EfficientNet-Lite against the reference implementation in PyTorch, with the public weights; and its own parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from fos_jax.encoders import efficientnet
from fos_jax.encoders.backbones import make_backbone
from fos_jax.encoders.convert import convert_backbone, read_state_dict, translate, weights_path
from fos_jax.encoders.convert_tables import EFFICIENTNET
from fos_jax.encoders.efficientnet import Block, DepthwiseConv, EfficientNetLite, pooled_cells
from fos_jax.errors import InputError

BOUND = 2e-4  # float32, of values up to 6 (ReLU6) and of gradients relative to their largest


def _reference(name="efficientnet-lite0", backbone="efficientnet_lite0"):
    torch = pytest.importorskip("torch")
    reference = pytest.importorskip("efficientnet_lite_pytorch")
    model = reference.EfficientNet.from_name(name)
    state = read_state_dict(weights_path(backbone, "package"))
    model.load_state_dict({key: torch.from_numpy(np.asarray(array)) for key, array in state.items()})
    return torch, model.eval(), state


def _variables(state):
    found, unknown, doubled = translate(EFFICIENTNET, state)
    assert unknown == doubled == []
    return traverse_util.unflatten_dict(found, sep="/")


def _pictures(size, count=2):
    image = np.random.default_rng(0).integers(0, 256, (count, size, size, 3)).astype(np.float32)
    extra = np.random.default_rng(1).normal(size=(count, size, size, 1)).astype(np.float32)  # must not be seen
    ours = np.concatenate([(image - 128) / 58, extra], axis=-1)
    return ours, ((image - 127) / 128).transpose(0, 3, 1, 2).copy()


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize(("size", "stride"), [(8, 1), (8, 2), (9, 2), (7, 1)])
def test_depthwise_is_the_grouped_convolution(kernel, size, stride):
    x = np.random.default_rng(0).normal(size=(2, size, size + 1, 6)).astype(np.float32)
    module = DepthwiseConv(kernel, stride)
    variables = module.init(jax.random.key(0), x)
    expected = jax.lax.conv_general_dilated(
        x,
        variables["params"]["kernel"],
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=6,
    )
    np.testing.assert_allclose(module.apply(variables, x), expected, atol=1e-5)


@pytest.mark.parametrize("index", [0, 1, 3, 8, 11])
def test_block(index):
    torch, model, state = _reference()
    block = model._blocks[index]
    stage = [s for s in efficientnet.scaled_stages(1, 1) for _ in range(s.repeats)][index]
    is_first = index == 0 or [s for s in efficientnet.scaled_stages(1, 1) for _ in range(s.repeats)][index - 1] != stage
    found = _variables({key: array for key, array in state.items() if key.startswith(f"_blocks.{index}.")})
    variables = {collection: arrays[f"block{index}"] for collection, arrays in found.items()}
    stride = stage.stride if is_first else 1
    # The reference pads for the size that the model has at this block.
    size = {0: 112, 1: 112, 3: 56, 8: 14, 11: 14}[index]
    channels = block._block_args.input_filters
    x = np.random.default_rng(0).normal(size=(2, size, size, channels)).astype(np.float32)
    got = Block(stage.channels, stage.kernel, stride, stage.expansion).apply(variables, x)
    expected = block(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).permute(0, 2, 3, 1).detach().numpy()
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() < BOUND * max(1, np.abs(expected).max())


@pytest.mark.parametrize(("variant", "size", "multipliers"), [("lite0", 224, (1, 1)), ("lite2", 260, (1.1, 1.2))])
def test_whole_network_and_its_gradient(variant, size, multipliers):
    torch, model, state = _reference(f"efficientnet-{variant}", f"efficientnet_{variant}")
    module = EfficientNetLite(*multipliers, taps=(3, 5, 8))
    ours, theirs = _pictures(size, 1)
    picture = torch.from_numpy(theirs).requires_grad_()
    expected = model.extract_features(picture)
    direction = np.random.default_rng(2).normal(size=expected.shape).astype(np.float32)
    (expected * torch.from_numpy(direction)).sum().backward()

    @jax.jit
    def run(variables, x):
        def value(x):
            features = module.apply(variables, x).map
            return (features * direction.transpose(0, 2, 3, 1)).sum(), features

        return jax.grad(value, has_aux=True)(x)

    gradient, features = run(_variables(state), ours)
    assert np.abs(features - expected.detach().numpy().transpose(0, 2, 3, 1)).max() < BOUND
    their_gradient = picture.grad.numpy().transpose(0, 2, 3, 1) * (58 / 128)  # of our scale of colours
    away = np.abs(gradient[..., :3] - their_gradient)
    assert np.median(away) < BOUND * np.abs(their_gradient).max()
    # Rounding takes a unit or two across a kink of ReLU6, which changes the gradient of what it sees, and only that.
    assert np.linalg.norm(away) < 100 * BOUND * np.linalg.norm(their_gradient), np.linalg.norm(away) / np.linalg.norm(
        their_gradient
    )
    assert not np.asarray(gradient[..., 3]).any()


def test_converted_backbone_stops_after_its_tap_and_keeps_the_layout():
    path = weights_path("efficientnet_lite0", "package")
    variables = convert_backbone("efficientnet_lite0", read_state_dict(path), image_size=64, where=str(path))
    assert "block10" in variables["params"]
    assert "block11" not in variables["params"]
    ours, _ = _pictures(64)
    features = jax.jit(make_backbone("efficientnet_lite0").apply)(variables, ours)
    assert features.map.shape == (2, 4, 4, 112)
    np.testing.assert_allclose(features.pooled, features.map.reshape(2, -1), atol=1e-5)


def test_cells_have_equal_areas():
    x = np.random.default_rng(0).normal(size=(2, 14, 7, 3)).astype(np.float32)
    fine = np.repeat(np.repeat(x, 2, axis=1), 4, axis=2)  # 28 x 28: 4 cells of 7 x 7
    expected = fine.reshape(2, 4, 7, 4, 7, 3).mean((2, 4))
    np.testing.assert_allclose(pooled_cells(jnp.asarray(x), 4), expected, atol=1e-5)


def test_weights_of_another_variant_are_refused():
    state = read_state_dict(weights_path("efficientnet_lite0", "package"))
    with pytest.raises(InputError, match=r"does not fit efficientnet_lite2: 171 misshapen"):
        convert_backbone("efficientnet_lite2", state, image_size=64)
