"""Converted weights give what PyTorch gives: layer, block, model; random weights, since none can be downloaded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from fos_jax.encoders import backbones
from fos_jax.encoders.backbones import make_backbone
from fos_jax.encoders.convert import convert_backbone, translate
from fos_jax.encoders.convert_tables import CLIP, RESNET, VIT
from fos_jax.encoders.resnet import BasicBlock, Bottleneck, ResNet
from fos_jax.encoders.vit import Block, VisionTransformer

torch = pytest.importorskip("torch")
import torch_oracles as oracle  # noqa: E402

# Single precision on both sides, sums in another order: the relative error grows with depth.
LAYER, BLOCK, MODEL = 2e-6, 5e-6, 2e-5
TINY_VIT = {"patch": 4, "width": 32, "depth": 2, "heads": 4}


def _arrays(module):
    return {name: tensor.detach().numpy() for name, tensor in module.state_dict().items()}


def _image(size, batch=2):
    return np.random.default_rng(0).normal(size=(batch, size, size, 3)).astype(np.float32)


def _torch(image):
    return torch.from_numpy(image.transpose(0, 3, 1, 2).copy())


def _with_fourth_channel(image):
    """Noise in it: a converted first convolution must not see it."""
    extra = np.random.default_rng(1).normal(size=(*image.shape[:3], 1)).astype(np.float32)
    return np.concatenate([image, extra], axis=-1)


def _assert_close(ours, theirs, bound):
    ours, theirs = np.asarray(ours), theirs.detach().numpy()
    assert ours.shape == theirs.shape
    error = np.abs(ours - theirs).max() / np.abs(theirs).max()
    assert error < bound, error


def _convert_part(table, prefix, module):
    """Variables of a part of a model, which the check for completeness would refuse."""
    found, unknown, doubled = translate(table, {f"{prefix}.{name}": array for name, array in _arrays(module).items()})
    assert unknown == doubled == []
    return unflatten_dict(found, sep="/")


@pytest.fixture
def tiny(monkeypatch):
    """Adds small members of each family to the backbones, so that whole models run in a test."""

    def add(name, module):
        monkeypatch.setitem(backbones.BACKBONES, name, lambda dtype, axis_name, module_name: module)

    add("resnet_tiny", ResNet(Bottleneck, (1, 2, 1, 1)))
    add("vit_tiny", VisionTransformer(**TINY_VIT))
    add("dinov2_tiny", VisionTransformer(**TINY_VIT, layer_scale=1e-5))
    add("clip_tiny", VisionTransformer(**TINY_VIT, is_clip=True, epsilon=1e-5))


def test_layer_first_convolution(tiny):
    theirs = oracle.randomise(oracle.TorchResNet(oracle.Deep, (1, 2, 1, 1)), 0)
    kernel = convert_backbone("resnet_tiny", _arrays(theirs), image_size=32)["params"]["conv1"]["kernel"]
    image = _image(32)
    ours = jax.lax.conv_general_dilated(
        _with_fourth_channel(image), kernel, (2, 2), [(3, 3), (3, 3)], dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    _assert_close(ours, theirs.conv1(_torch(image)).permute(0, 2, 3, 1), LAYER)


@pytest.mark.parametrize(("ours", "name"), [(BasicBlock, "Basic"), (Bottleneck, "Deep")])
@pytest.mark.parametrize("stride", [1, 2])
def test_block_of_a_resnet(ours, name, stride):
    theirs = getattr(oracle, name)
    channels = 64 * theirs.expansion if stride == 1 else 64
    block = oracle.randomise(theirs(channels, 64, stride), 1)
    converted = _convert_part(RESNET, "layer1.0", block)
    x = np.random.default_rng(0).normal(size=(2, 8, 8, channels)).astype(np.float32)
    variables = {collection: arrays["layer1_0"] for collection, arrays in converted.items()}
    got = jax.jit(lambda v, x: ours(64, stride, jnp.float32, None).apply(v, x, False))(variables, x)
    _assert_close(got, block(_torch(x)).permute(0, 2, 3, 1), BLOCK)


def test_block_of_a_vision_transformer():
    block = oracle.randomise(oracle.TorchViTBlock(32, 4, True), 2)
    converted = _convert_part(VIT, "blocks.0", block)
    x = np.random.default_rng(0).normal(size=(2, 5, 32)).astype(np.float32)
    got = Block(4, 4.0, 1.0, False, 1e-6, jnp.float32).apply({"params": converted["params"]["blocks_0"]}, x)
    _assert_close(got, block(torch.from_numpy(x)), BLOCK)


def test_block_of_clip():
    layer = oracle.randomise(oracle.TorchClipLayer(32, 4), 3)
    converted = _convert_part(CLIP, "vision_model.encoder.layers.0", layer)
    x = np.random.default_rng(0).normal(size=(2, 5, 32)).astype(np.float32)
    got = Block(4, 4.0, None, True, 1e-5, jnp.float32).apply({"params": converted["params"]["blocks_0"]}, x)
    _assert_close(got, layer(torch.from_numpy(x)), BLOCK)


@pytest.mark.parametrize(
    ("name", "block", "stages"), [("resnet18", "Basic", (2, 2, 2, 2)), ("resnet50", "Deep", (3, 4, 6, 3))]
)
def test_model_resnet(name, block, stages):
    theirs = oracle.randomise(oracle.TorchResNet(getattr(oracle, block), stages), 4)
    image = _image(64)
    variables = convert_backbone(name, _arrays(theirs), image_size=64)
    got = jax.jit(make_backbone(name).apply)(variables, _with_fourth_channel(image))
    expected = theirs(_torch(image))
    _assert_close(got.map, expected.permute(0, 2, 3, 1), MODEL)
    _assert_close(got.pooled, expected.mean((2, 3)), MODEL)


@pytest.mark.parametrize("name", ["vit_tiny", "dinov2_tiny"])
def test_model_vision_transformer(tiny, name):
    theirs = oracle.TorchViT(size=16, has_layer_scale=name == "dinov2_tiny", **TINY_VIT)
    _check_tokens(name, oracle.randomise(theirs, 5))


def test_model_clip(tiny):
    _check_tokens("clip_tiny", oracle.randomise(oracle.TorchClip(size=16, **TINY_VIT), 6))


def _check_tokens(name, theirs):
    image = _image(16)
    variables = convert_backbone(name, _arrays(theirs), image_size=16)
    got = jax.jit(make_backbone(name).apply)(variables, _with_fourth_channel(image))
    expected = theirs(_torch(image))
    _assert_close(got.pooled, expected[:, 0], MODEL)
    _assert_close(got.map.reshape(2, 16, 32), expected[:, 1:], MODEL)


def test_training_mode_normalises_as_torch_does(tiny):
    theirs = oracle.randomise(oracle.TorchResNet(oracle.Deep, (1, 2, 1, 1)), 7)
    variables = convert_backbone("resnet_tiny", _arrays(theirs), image_size=64)
    image = _image(64, batch=4)
    apply = jax.jit(lambda v, x: make_backbone("resnet_tiny").apply(v, x, True, mutable=["batch_stats"]))
    # PyTorch updates its statistics in place, in memory that JAX may still be reading.
    got, changed = jax.block_until_ready(apply(variables, _with_fourth_channel(image)))
    expected = theirs.train()(_torch(image))
    # Batches of 4 through 2 x 2 maps have small variances, which amplify rounding.
    _assert_close(got.map, expected.permute(0, 2, 3, 1), 1e-3)
    _assert_close(changed["batch_stats"]["bn1"]["mean"], theirs.bn1.running_mean, 1e-4)


def test_model_small_against_its_torch_form():
    theirs = oracle.randomise(oracle.TorchSmall(), 8)
    image = np.random.default_rng(0).normal(size=(2, 32, 32, 4)).astype(np.float32)
    got = jax.jit(make_backbone("small").apply)({"params": oracle.small_to_jax(theirs)}, image)
    _assert_close(got.map, theirs(_torch(image)).permute(0, 2, 3, 1), MODEL)
