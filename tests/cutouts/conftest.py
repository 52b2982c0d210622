"""Networks of a few bytes that stand for a user's segmenter."""

import pytest


@pytest.fixture
def segmenter_file(tmp_path):
    """Returns a function that writes an ONNX file which finds red things, and gives its path."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra: dev)")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra: segmenter)")
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    def write(
        name="red.onnx",
        *,
        shape=(1, 3, 320, 320),
        weights=(40.0, -40.0, 0.0),
        bias=-10.0,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        last="Sigmoid",
        maps=1,
        dtype=TensorProto.FLOAT,
        change=None,
    ):
        """The map is last(weights . RGB + bias), RGB in 0..1; mean and std undo the kind's normalisation."""
        kernel = (np.array(weights) * np.array(std)).reshape(1, 3, 1, 1).repeat(maps, 0)
        offset = np.full(maps, np.dot(weights, mean) + bias)
        numpy_type = helper.tensor_dtype_to_np_dtype(dtype)
        tensors = [
            numpy_helper.from_array(kernel.astype(numpy_type), "kernel"),
            numpy_helper.from_array(offset.astype(numpy_type), "offset"),
        ]
        nodes = [
            helper.make_node("Conv", ["picture", "kernel", "offset"], ["logits"]),
            helper.make_node(last, ["logits"], ["map"]),
            helper.make_node("AveragePool", ["map"], ["coarse"], kernel_shape=[2, 2], strides=[2, 2]),
        ]
        graph = helper.make_graph(
            nodes,
            "red",
            [helper.make_tensor_value_info("picture", dtype, shape)],
            [helper.make_tensor_value_info(value, dtype, None) for value in ("map", "coarse")],
            tensors,
        )
        if change is not None:
            change(graph)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        path = tmp_path / name
        path.write_bytes(onnx.ModelProto.SerializeToString(model))
        return path

    return write
