"""Masks by networks made here: what they see, what becomes of their maps, and files that are none."""

import sys

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed (extra: dev)")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra: segmenter)")

from onnx import TensorProto, helper

from fos_jax.cutouts.segmenter import Segmenter, open_segmenter
from fos_jax.errors import InputError

_HALF = {"mean": (0.5,) * 3, "std": (1.0,) * 3}
_LOGITS = {"last": "Identity"}


def _red_square(size=(120, 100), box=(30, 20, 80, 70)):
    rgb = np.random.default_rng(0).integers(40, 220, (size[1], size[0], 1), np.uint8).repeat(3, 2)
    rgb[box[1] : box[3], box[0] : box[2]] = (230, 20, 30)
    return rgb


@pytest.mark.parametrize(
    ("network", "flag", "kind"),
    [
        ({}, "", "u2net"),
        ({"shape": (1, 3, 640, 640), **_HALF}, "", "isnet"),
        ({"shape": (1, 3, 640, 640), **_LOGITS}, "", "birefnet"),
        ({"shape": (1, 3, 640, 640)}, "birefnet", "birefnet"),  # exported with its sigmoid
        ({"shape": ("batch", 3, "height", "width")}, "u2net", "u2net"),
        ({"shape": (1, 3, 640, 480)}, "u2net", "u2net"),
        ({"dtype": TensorProto.FLOAT16}, "", "u2net"),
    ],
)
def test_every_kind_finds_the_same_square(segmenter_file, network, flag, kind):
    segmenter = Segmenter(segmenter_file(**network), flag)
    assert segmenter.kind == kind
    box = (10, 5, 110, 95)
    alpha, response = segmenter.segment(_red_square(), box, where="p.png")
    assert alpha.shape == (90, 100)
    assert response > 0.99
    found = alpha >= 128
    truth = np.zeros_like(found)
    truth[15:65, 20:70] = True
    assert np.count_nonzero(found & truth) > 0.95 * np.count_nonzero(found | truth)
    again = open_segmenter(segmenter.description())
    np.testing.assert_array_equal(again.segment(_red_square(), box, where="p.png")[0], alpha)


def test_what_the_network_sees_by_hand(segmenter_file):
    """The first channel comes through: the picture over its largest value, less the mean, over the deviation."""
    channel = {"weights": (0.1, 0.0, 0.0), "bias": 0.5, "mean": (0.0,) * 3, "std": (1.0,) * 3, "last": "Identity"}
    picture = np.full((32, 32, 3), 25, np.uint8)
    picture[:, 16:] = 100  # the largest value: 1 to the network
    expected = {"u2net": (1 - 0.485) / 0.229, "isnet": 0.5}
    for kind, value in expected.items():
        segmenter = Segmenter(segmenter_file(**channel), kind)
        alpha, response = segmenter.segment(picture, (0, 0, 32, 32), where="p")
        assert response == pytest.approx(0.5 + 0.1 * value, abs=1e-5)
        assert (alpha[:, 2].max(), alpha[:, -3].min()) == (0, 255)


def test_the_map_is_stretched_and_its_ends_are_cut(segmenter_file):
    grey = {"weights": (1.0, 0.0, 0.0), "bias": 0.0, "last": "Identity"}
    segmenter = Segmenter(segmenter_file(**grey))
    columns = np.array([0.0, 0.05, 0.5, 0.8, 0.95, 1.0])
    picture = np.rint(255 * columns).astype(np.uint8).repeat(20)[None, :, None].repeat(60, 0).repeat(3, 2)
    alpha, response = segmenter.segment(picture, (0, 0, 120, 60), where="p")
    assert response == pytest.approx(1, abs=1e-5)
    centres = alpha[30, 10::20].astype(int)
    assert list(centres[[0, 1, 4, 5]]) == [0, 0, 255, 255]
    np.testing.assert_allclose(centres[2:4], [0.5 * 255, 0.7 / 0.8 * 255], atol=1.5)
    # The rectangle's own largest value, before the stretch over all that the network sees around it.
    alpha, response = segmenter.segment(picture, (45, 0, 55, 60), where="p")
    assert response == pytest.approx(128 / 255 / (204 / 255), abs=0.01)  # 0.8 is the largest in sight
    assert alpha.shape == (60, 10)


def test_specks_are_dropped_and_pieces_are_not(segmenter_file):
    segmenter = Segmenter(segmenter_file(shape=(1, 3, 400, 400)))
    rgb = np.full((400, 400, 3), 100, np.uint8)
    for x0, y0, side in ((10, 10, 200), (250, 250, 40), (350, 20, 10)):  # 40,000, 1,600 and 100 pixels
        rgb[y0 : y0 + side, x0 : x0 + side] = (220, 10, 10)
    alpha, _ = segmenter.segment(rgb, (0, 0, 400, 400), where="p")
    assert (alpha[50, 50], alpha[260, 260], alpha[25, 355]) == (255, 255, 0)


def test_one_pixel_and_the_whole_picture(segmenter_file):
    segmenter = Segmenter(segmenter_file())
    rgb = _red_square()
    assert segmenter.segment(rgb, (0, 0, 1, 1), where="p")[0].shape == (1, 1)
    alpha, _ = segmenter.segment(rgb, (0, 0, 120, 100), where="p")
    assert alpha.shape == rgb.shape[:2]
    black, response = segmenter.segment(np.zeros_like(rgb), (0, 0, 120, 100), where="p")
    assert response < 0.01
    assert not black.any()


def _second_input(graph):
    graph.input.append(helper.make_tensor_value_info("points", TensorProto.FLOAT, (1, 2)))


def _bytes_in(graph):
    graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    graph.node.insert(0, helper.make_node("Cast", ["picture"], ["floats"], to=TensorProto.FLOAT))
    graph.node[1].input[0] = "floats"


def _classes(graph):
    graph.node.insert(2, helper.make_node("GlobalAveragePool", ["map"], ["score"]))
    graph.output[0].name = "score"


def _unknown_operator(graph):
    graph.node[1].op_type = "Segment"


def _weights_at(place):
    def change(graph):
        kernel = graph.initializer[0]
        kernel.ClearField("raw_data")
        kernel.data_location = TensorProto.EXTERNAL
        for key, value in (("location", place), ("length", "12")):
            kernel.external_data.add(key=key, value=value)

    return change


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"shape": (1, 4, 320, 320)}, r"takes \(float\) \[1, 4, 320, 320\], expected one RGB picture"),
        ({"shape": (2, 3, 320, 320)}, "expected one RGB picture"),
        ({"change": _second_input}, "expected one RGB picture"),
        ({"change": _bytes_in}, r"takes \(uint8\) \[1, 3, 320, 320\], expected one RGB picture"),
        ({"shape": (1, 3, 8, 8)}, "expected sides from 32 to 4096 px"),
        ({"shape": (1, 3, 100_000, 100_000)}, "expected sides from 32 to 4096 px"),
        ({"shape": (1, 3, "height", "width")}, "expected --segmenter_kind"),
        ({"maps": 4}, r"gives \[1, 4, 320, 320\] for one picture, expected one map"),
        ({"change": _classes}, r"gives \[1, 1, 1, 1\] for one picture, expected one map"),
        (_LOGITS, "its map runs from -.* expected 0 to 1 of u2net"),
        ({"last": "Log"}, "not finite for a drawn disc"),
        ({"change": _unknown_operator}, "not an ONNX file that onnxruntime can run"),
        ({"change": _weights_at("../weights.bin")}, "keeps weights in another file"),
        ({"change": _weights_at("/etc/hostname")}, "keeps weights in another file"),
        ({"change": _weights_at("weights.bin")}, "keeps weights in another file"),
    ],
)
def test_files_that_are_no_segmenter(segmenter_file, tmp_path, monkeypatch, network, message):
    for folder in (tmp_path, tmp_path.parent):
        (folder / "weights.bin").write_bytes(np.ones(3, np.float32).tobytes())
    monkeypatch.chdir(tmp_path)  # where onnxruntime seeks the weights of a file that it reads from memory
    path = segmenter_file(**network)
    with pytest.raises(InputError, match=message) as caught:
        Segmenter(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_damaged_files(segmenter_file, tmp_path):
    whole = segmenter_file().read_bytes()
    path = tmp_path / "damaged.onnx"
    for contents in (b"", b"no network", whole[:-7], whole[: len(whole) // 2], whole[:3]):
        path.write_bytes(contents)
        with pytest.raises(InputError, match="not an ONNX file that onnxruntime can run, or truncated") as caught:
            Segmenter(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="cannot be read"):
        Segmenter(tmp_path / "none.onnx")
    with pytest.raises(InputError, match="cannot be read"):
        Segmenter(tmp_path)


def test_numbers_that_are_not_finite_in_one_picture(segmenter_file):
    # The logarithm of red less a little: finite on the disc that every network is tried on.
    segmenter = Segmenter(segmenter_file(last="Sqrt", weights=(1.0, 0.0, 0.0), bias=-0.25))
    bright, dark = np.full((40, 40, 3), 200, np.uint8), np.full((40, 40, 3), 200, np.uint8)
    dark[:20] = 10
    segmenter.segment(bright, (0, 0, 40, 40), where="bright.png")
    with pytest.raises(InputError, match=r"not finite for dark\.png"):
        segmenter.segment(dark, (0, 0, 40, 40), where="dark.png")


def test_descriptions(segmenter_file, monkeypatch):
    path = segmenter_file()
    assert open_segmenter(None) is None
    first = open_segmenter({"file": str(path)})
    assert first is open_segmenter(first.description())
    with pytest.raises(InputError, match="segmenter_kind: got 'sam'"):
        open_segmenter({"file": str(path), "kind": "sam"})
    with pytest.raises(InputError, match=r"segmenter: .*unexpected keyword argument 'colour'"):
        open_segmenter({"file": str(path), "colour": "red"})
    with pytest.raises(InputError, match="other checksum"):
        open_segmenter({**first.description(), "sha256": "0" * 64})
    monkeypatch.setattr("onnxruntime.__version__", "1.23.2")
    with pytest.raises(InputError, match=r"onnxruntime 1\.23\.2 is installed, expected 1\.24 or newer"):
        open_segmenter({"file": str(path)})
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match="onnxruntime is not installed, expected `pip install onnxruntime`"):
        open_segmenter({"file": str(path)})
