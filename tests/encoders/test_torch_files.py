"""PyTorch's files are read as tensors alone: both formats, views, dtypes; anything else is refused and nothing runs."""

import pickle
import zipfile

import numpy as np
import pytest

from fos_jax.encoders.convert import weights_path
from fos_jax.encoders.torch_files import read_torch_file
from fos_jax.errors import InputError


def test_the_installed_package_is_read_without_torch():
    arrays = read_torch_file(weights_path("efficientnet_lite0", "package"))
    assert arrays["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert arrays["_blocks.15._project_conv.weight"].shape == (320, 1152, 1, 1)
    assert sum(array.size for name, array in arrays.items() if "running" not in name and "num_b" not in name) == 4652008
    assert all(np.isfinite(array).all() for array in arrays.values())


@pytest.mark.parametrize("is_zip", [True, False])
def test_views_dtypes_and_shared_storages(tmp_path, is_zip):
    torch = pytest.importorskip("torch")
    base = torch.arange(24, dtype=torch.float32)
    state = {
        "transposed": base.reshape(4, 6).T,
        "part": base[5:9],
        "broadcast": torch.ones(1, 3).expand(2, 3).contiguous(),
        "half": base.half(),
        "brain": base.bfloat16(),
        "long": torch.arange(3),
        "flags": torch.tensor([True, False]),
        "scalar": torch.tensor(7.5),
        "empty": torch.zeros(0, 4),
        "parameter": torch.nn.Parameter(base[:2].clone()),
    }
    torch.save({"state_dict": state}, tmp_path / "weights.pth", _use_new_zipfile_serialization=is_zip)
    arrays = read_torch_file(tmp_path / "weights.pth")
    assert arrays.keys() == state.keys()
    for name, tensor in state.items():
        np.testing.assert_array_equal(arrays[name].astype(np.float64), tensor.detach().double().numpy(), err_msg=name)
    assert arrays["half"].dtype == np.float16
    assert str(arrays["brain"].dtype) == "bfloat16"


class _Calls:
    """What unpickling it would call."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def _as_zip(path, payload):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", payload)


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_file_that_would_run_code_is_refused_by_what_it_calls(tmp_path, is_zip):
    victim = tmp_path / "victim"
    payload = pickle.dumps({"conv.weight": _Calls(open, str(victim), "w")}, protocol=2)
    path = tmp_path / "bad.pth"
    if is_zip:
        _as_zip(path, payload)
    else:
        header = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
        path.write_bytes(b"".join(pickle.dumps(part, protocol=2) for part in header) + payload)
    with pytest.raises(InputError, match=r"bad\.pth: cannot be read as tensors alone \(it calls \w+\.open"):
        read_torch_file(path)
    assert not victim.exists()


def test_damaged_files_are_named(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"a": torch.arange(1000.0)}, tmp_path / "zip.pth")
    torch.save({"a": torch.arange(1000.0)}, tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    for name in ("zip.pth", "legacy.pth"):
        whole = (tmp_path / name).read_bytes()
        for keep in (0, 1, 50, len(whole) // 2, len(whole) - 200):
            (tmp_path / "cut.pth").write_bytes(whole[:keep])
            with pytest.raises(InputError, match=r"cut\.pth: cannot be read as tensors alone"):
                read_torch_file(tmp_path / "cut.pth")
    with pytest.raises(InputError, match=r"none\.pth: cannot be read \(No such file"):
        read_torch_file(tmp_path / "none.pth")
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    with pytest.raises(InputError, match="something else than named tensors"):
        read_torch_file(tmp_path / "list.pth")


def test_tensors_that_leave_their_storage_are_refused(tmp_path):
    torch = pytest.importorskip("torch")
    storage = torch.arange(4.0).untyped_storage()

    def save(size, stride, offset):
        tensor = torch.arange(4.0)
        tensor.__class__ = type("Forged", (torch.Tensor,), {"__reduce_ex__": lambda self, _: forged})
        forged = (
            torch._utils._rebuild_tensor_v2,
            (
                torch.storage.TypedStorage(wrap_storage=storage, dtype=torch.float32, _internal=True),
                offset,
                size,
                stride,
                False,
                {},
            ),
        )
        torch.save({"a": tensor}, tmp_path / "forged.pth")

    for size, stride, offset in (((5,), (1,), 0), ((2,), (1,), 3), ((2, 2), (3, 1), 0), ((10**9,), (0,), 0)):
        save(size, stride, offset)
        with pytest.raises(InputError, match=r"a tensor (reaches beyond|is larger than) its storage"):
            read_torch_file(tmp_path / "forged.pth")


def test_packages_are_told_by_name():
    with pytest.raises(InputError, match="no package has weights of resnet18"):
        weights_path("resnet18", "package")
