"""Upsampling folded into convolutions, against torch in float64."""

import numpy as np
import openvino as ov
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper, save

from engine.backends.openvino import OpenVINOBackend
from engine.backends.upsampling import fold_upsampling

SHAPE = (2, 6, 5, 4)
NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


def write_graph(path, dtype, *, resize=NEAREST, scale=2.0, kernel=3, used_twice=False, **convolution):
    """Write x -> Resize -> Conv -> y, computed in dtype. Return the weights."""
    weights = np.random.default_rng(1).standard_normal((8, SHAPE[1], kernel, kernel)).astype(dtype)
    type_ = helper.np_dtype_to_tensor_dtype(weights.dtype)
    nodes = [
        helper.make_node("Cast", ["x"], ["inside"], to=type_),
        helper.make_node("Resize", ["inside", "", "scales"], ["large"], **resize),
        helper.make_node("Conv", ["large", "weights"], ["sums"], **{"pads": [kernel // 2] * 4, **convolution}),
        helper.make_node("Cast", ["sums"], ["y"], to=TensorProto.FLOAT),
    ]
    outputs = ["y"]
    if used_twice:
        nodes.append(helper.make_node("Cast", ["large"], ["other"], to=TensorProto.FLOAT))
        outputs.append("other")
    scales = numpy_helper.from_array(np.array([1, 1, scale, scale], np.float32), "scales")
    x, *ys = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in ("x", *outputs))
    graph = helper.make_graph(nodes, "up", [x], ys, [scales, numpy_helper.from_array(weights, "weights")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)])
    model.ir_version = 10
    save(model, path)
    return weights


def folded(path):
    """Return how many convolutions the rewrite replaces, and whether an upsampling remains."""
    model = ov.Core().read_model(path)
    model.reshape(SHAPE)
    count = fold_upsampling(model, 127)
    return count, any(node.get_type_name() == "Interpolate" for node in model.get_ops())


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_folded_convolution_is_the_same(tmp_path, dtype):
    path = tmp_path / "up.onnx"
    weights = write_graph(path, dtype)
    assert folded(path) == (1, False)

    x = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    found = OpenVINOBackend(precision="f32", cached=False).open(path, {"x": SHAPE}, ("y",)).run({"x": x})["y"]
    large = torch.nn.functional.interpolate(torch.from_numpy(x).double(), scale_factor=2.0)
    wanted = torch.nn.functional.conv2d(large, torch.from_numpy(weights).double(), padding=1)
    np.testing.assert_allclose(found, wanted.numpy(), atol=2e-5)


@pytest.mark.parametrize(
    "different",
    [
        {"resize": {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}},
        {"resize": {**NEAREST, "nearest_mode": "ceil"}},
        {"scale": 3.0},
        {"kernel": 5},
        {"strides": [2, 2]},
        {"dilations": [2, 2], "pads": [2] * 4},
        {"pads": [0] * 4},
        {"used_twice": True},
    ],
)
def test_another_graph_is_left_alone(tmp_path, different):
    path = tmp_path / "up.onnx"
    write_graph(path, np.float32, **different)
    assert folded(path) == (0, True)
