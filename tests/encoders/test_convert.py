"""Public weights: files, names, shapes; everything that is wrong is said at once and nothing is skipped in silence."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from safetensors.numpy import save_file

from fos_jax.encoders.backbones import make_backbone
from fos_jax.encoders.build import abstract_variables, with_public_weights
from fos_jax.encoders.config import complete_foreground, complete_query
from fos_jax.encoders.convert import convert_backbone, read_state_dict, resample_positions
from fos_jax.errors import InputError


def _resnet18():
    """A state dict of torchvision's resnet18: names and shapes written out from its definition."""
    rng = np.random.default_rng(0)
    shapes = {"conv1.weight": (64, 3, 7, 7), **_norm("bn1", 64), "fc.weight": (1000, 512), "fc.bias": (1000,)}
    channels = 64
    for layer, width in enumerate((64, 128, 256, 512), start=1):
        for block in range(2):
            name = f"layer{layer}.{block}"
            shapes |= {f"{name}.conv1.weight": (width, channels, 3, 3), f"{name}.conv2.weight": (width, width, 3, 3)}
            shapes |= _norm(f"{name}.bn1", width) | _norm(f"{name}.bn2", width)
            if channels != width:
                shapes |= {f"{name}.downsample.0.weight": (width, channels, 1, 1)} | _norm(
                    f"{name}.downsample.1", width
                )
            channels = width
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def _norm(name, width):
    shapes = {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}
    return {**shapes, f"{name}.num_batches_tracked": ()}


def _convert(state):
    return convert_backbone("resnet18", state, image_size=64, where="weights.pth")


def test_every_array_of_the_model_is_filled_and_every_public_one_used():
    state = _resnet18()
    converted = _convert(state)
    expected = jax.eval_shape(make_backbone("resnet18").init, jax.random.key(0), jnp.zeros((1, 64, 64, 4)))
    shapes = jax.tree.map(np.shape, converted, is_leaf=lambda x: isinstance(x, np.ndarray))
    assert traverse_util.flatten_dict(shapes) == traverse_util.flatten_dict(jax.tree.map(lambda x: x.shape, expected))
    ignored = [name for name in state if name.startswith("fc.") or name.endswith("num_batches_tracked")]
    assert len(jax.tree.leaves(converted)) == len(state) - len(ignored)


def test_kernels_by_hand():
    state = _resnet18()
    params = _convert(state)["params"]
    assert params["conv1"]["kernel"][2, 5, 1, 7] == state["conv1.weight"][7, 1, 2, 5]
    np.testing.assert_array_equal(params["conv1"]["kernel"][:, :, 3], 0)
    downsample = params["layer2_0"]["downsample_conv"]["kernel"]
    assert downsample[0, 0, 3, 9] == state["layer2.0.downsample.0.weight"][9, 3, 0, 0]


def test_everything_that_is_wrong_is_said_in_one_line():
    state = _resnet18()
    del state["bn1.bias"]
    state["layer4.1.conv2.weight"] = np.zeros((512, 512, 1, 1))
    state["layer1.0.se.weight"] = np.zeros(3)
    with pytest.raises(InputError) as error:
        _convert(state)
    message = str(error.value)
    assert message.startswith("weights.pth: does not fit resnet18")
    assert "1 unknown (layer1.0.se.weight)" in message
    assert "1 missing (params/bn1/bias)" in message
    assert "1 misshapen (params/layer4_1/conv2/kernel [1, 1, 512, 512] instead of [3, 3, 512, 512])" in message
    assert "\n" not in message


def test_a_deeper_model_of_the_same_family_is_refused():
    state = _resnet18()
    state["layer1.2.conv1.weight"] = np.zeros((64, 64, 3, 3))
    with pytest.raises(InputError, match=r"1 of another model \(params/layer1_2/conv1/kernel\)"):
        _convert(state)


def test_names_that_differ_in_a_prefix_are_not_taken():
    with pytest.raises(InputError, match=r"unknown \(module.conv1.weight"):
        _convert({f"module.{name}": array for name, array in _resnet18().items()})


def test_the_small_backbone_has_no_public_weights():
    with pytest.raises(InputError, match="'small' has no public weights"):
        convert_backbone("small", {}, image_size=64)


def test_position_embeddings_are_resampled_smoothly():
    x = np.linspace(0, 1, 8, dtype=np.float32)
    grid = np.broadcast_to(x[:, None, None], (8, 8, 1)).reshape(1, 64, 1)
    embedding = np.concatenate([np.full((1, 1, 1), 7, np.float32), grid], axis=1)
    got = resample_positions(embedding, 1 + 16)
    assert got.shape == (1, 17, 1)
    assert got[0, 0, 0] == 7  # the class token has no place
    rows = got[0, 1:, 0].reshape(4, 4)
    np.testing.assert_allclose(rows.std(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(rows.mean(axis=1), [1 / 14, 5 / 14, 9 / 14, 13 / 14], atol=0.02)
    np.testing.assert_array_equal(resample_positions(embedding, 65), embedding)


def test_safetensors_and_torch_files_give_the_same(tmp_path):
    state = _resnet18()
    save_file(state, tmp_path / "weights.safetensors")
    read = read_state_dict(tmp_path / "weights.safetensors")
    assert read.keys() == state.keys()
    torch = pytest.importorskip("torch")
    tensors = {name: torch.from_numpy(array) for name, array in state.items()}
    for name, contents in (("plain.pth", tensors), ("wrapped.pt", {"state_dict": tensors})):
        torch.save(contents, tmp_path / name)
        for key, array in read_state_dict(tmp_path / name).items():
            np.testing.assert_array_equal(array, read[key])


class _Malicious:
    """Its unpickling would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_nothing_is_unpickled(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"conv1.weight": _Malicious(tmp_path / "victim")}, tmp_path / "bad.pth")
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(_Malicious(tmp_path / "victim")))
    for name in ("bad.pth", "bare.pth"):
        with pytest.raises(InputError, match=f"{name}: cannot be read as tensors alone"):
            read_state_dict(tmp_path / name)
    assert not (tmp_path / "victim").exists()


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.h5"])
def test_unreadable_files_are_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00notjson!")
    with pytest.raises(InputError, match=name):
        read_state_dict(tmp_path / name)
    with pytest.raises(InputError, match=r"absent\.pth: no such file"):
        read_state_dict(tmp_path / "absent.pth")


def test_init_weights_of_the_config_reach_every_backbone(tmp_path, table):
    state = _resnet18()
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    common = {"backbone": "resnet18", "image_size": 64, "init_weights": str(path)}
    config = {"foreground": common, "query": {**common, "views": ("frame", "crop")}}
    before = jax.tree.map(lambda x: np.full(x.shape, 7), abstract_variables(config, table, has_query=True))
    foreground = with_public_weights(before["foreground"], complete_foreground(config["foreground"]))
    query = with_public_weights(before["query"], complete_query(config["query"]))
    for variables, module in ((foreground, "backbone"), (query, "backbone_frame"), (query, "backbone_crop")):
        mean = variables["batch_stats"][module]["layer3_1"]["bn2"]["mean"]
        np.testing.assert_array_equal(mean, state["layer3.1.bn2.running_mean"])
        kernel = variables["params"][module]["layer3_1"]["conv2"]["kernel"]
        np.testing.assert_array_equal(kernel, state["layer3.1.conv2.weight"].transpose(2, 3, 1, 0))
        np.testing.assert_array_equal(variables["params"]["embedding"]["kernel"], 7)
    assert np.all(before["foreground"]["params"]["backbone"]["conv1"]["kernel"] == 7)  # the argument is not changed


def test_without_init_weights_nothing_is_replaced(table):
    before = {"params": {"backbone": {"kernel": np.ones(2)}}}
    assert with_public_weights(before, complete_foreground({})) == before
