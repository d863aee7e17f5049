"""8-bit graphs on processors with and without 8-bit dot products, against exact arithmetic."""

import numpy as np
import openvino as ov
import pytest
import torch
from onnx import TensorProto, helper, load, numpy_helper, save

from engine.backends import eight_bits
from engine.backends.openvino import OpenVINOBackend
from exporter.computed import compute_weights
from exporter.low_rank import Factors

SHAPE = (1, 32, 4, 4)
SCALES = np.array([1, 1, 2, 2], np.float32)
WITHOUT_DOT_PRODUCTS = "avx2 fma sse4_1"


def write_graph(path, weights, product, *, enlarged=False, restored=1.0, level=1 / 255):
    """Write a product of x, quantised to 8 bits from 0 to 255 levels, with quantised weights (outputs first).

    restored: factor of the scale behind the quantisation of x, compared with the scale before it.
    """
    constants = {
        "weights": weights,
        "level": np.array(level, np.float32),
        "restored": np.array(level * restored, np.float32),
        "zero": np.array(0, np.uint8),
        "scale": (abs(weights).max(axis=tuple(range(1, weights.ndim))) / 127).astype(np.float32),
        "zeros": np.zeros(len(weights), np.int8),
        "scales": SCALES,
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["large", "level", "zero"], ["whole"]),
        helper.make_node("DequantizeLinear", ["whole", "restored", "zero"], ["rounded"]),
        helper.make_node("QuantizeLinear", ["weights", "scale", "zeros"], ["whole_weights"], axis=0),
        helper.make_node("DequantizeLinear", ["whole_weights", "scale", "zeros"], ["operand"], axis=0),
    ]
    nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    large = helper.make_node("Resize", ["x", "", "scales"], ["large"], **nearest)
    nodes.insert(0, large if enlarged else helper.make_node("Identity", ["x"], ["large"]))
    if product == "Conv":
        nodes.append(helper.make_node("Conv", ["rounded", "operand"], ["y"], pads=[weights.shape[-1] // 2] * 4))
    else:
        nodes.append(helper.make_node("Transpose", ["operand"], ["turned"], perm=[1, 0]))
        nodes.append(helper.make_node("MatMul", ["rounded", "turned"], ["y"]))
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in "xy")
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "eight", [x], [y], tensors), opset_imports=[helper.make_opsetid("", 23)]
    )
    model.ir_version = 10
    save(model, path)


def run(path, x):
    # Beside the 8-bit operations, "int8" would compute in bfloat16 where the processor has it.
    return OpenVINOBackend(precision="f32", cached=False).open(path, {"x": x.shape}, ("y",)).run({"x": x})["y"]


def noise(shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.fixture
def without_dot_products(monkeypatch):
    monkeypatch.setattr(eight_bits, "processor_features", lambda: WITHOUT_DOT_PRODUCTS)


@pytest.mark.parametrize(
    ("features", "largest"),
    [
        (WITHOUT_DOT_PRODUCTS, 64),
        ("avx2 avx512_vnni", 127),
        ("avx2 avx_vnni", 127),
        ("amx_int8 avx2", 127),
        ("asimddp", 127),
        ("", 127),
    ],
)
def test_weights_have_one_bit_less_without_dot_products(monkeypatch, features, largest):
    monkeypatch.setattr(eight_bits, "processor_features", lambda: features)
    assert eight_bits.largest_weight() == largest


@pytest.mark.parametrize("kernel", [1, 3])
def test_products_do_not_saturate(tmp_path, without_dot_products, kernel):
    # Every product has the largest possible value, which overflows 16 bits with 8-bit weights.
    weights = np.ones((16, 32, kernel, kernel), np.float32)
    write_graph(tmp_path / "graph.onnx", weights, "Conv")
    found = run(tmp_path / "graph.onnx", np.ones(SHAPE, np.float32))
    assert found[0, :, 1:3, 1:3] == pytest.approx(np.full((16, 2, 2), 32 * kernel**2), rel=1e-5)


def test_weights_are_rounded_from_the_file(tmp_path, without_dot_products):
    weights = noise((16, 32, 3, 3))
    write_graph(tmp_path / "graph.onnx", weights, "Conv")
    x = abs(noise(SHAPE)).clip(0, 1)
    wanted = torch.nn.functional.conv2d(*map(torch.from_numpy, (x, weights)), padding=1).numpy()
    found = run(tmp_path / "graph.onnx", x)
    assert 0.001 < np.linalg.norm(found - wanted) / np.linalg.norm(wanted) < 0.02


def test_matrix_products_become_float32(tmp_path, without_dot_products):
    weights = noise((16, 4))
    write_graph(tmp_path / "graph.onnx", weights, "MatMul")
    x = abs(noise(SHAPE)).clip(0, 1)
    np.testing.assert_allclose(run(tmp_path / "graph.onnx", x), x @ weights.T, atol=1e-5)


def test_upsampling_is_folded_into_a_quantised_convolution(tmp_path):
    weights = noise((16, 32, 3, 3))
    write_graph(tmp_path / "graph.onnx", weights, "Conv", enlarged=True)
    x = abs(noise(SHAPE)).clip(0, 1)
    large = torch.nn.functional.interpolate(torch.from_numpy(x), scale_factor=2.0)
    wanted = torch.nn.functional.conv2d(large, torch.from_numpy(weights), padding=1).numpy()
    found = run(tmp_path / "graph.onnx", x)
    assert found.shape == wanted.shape
    assert 0.001 < np.linalg.norm(found - wanted) / np.linalg.norm(wanted) < 0.02


def test_a_quantisation_that_also_scales_is_left_alone(tmp_path):
    write_graph(tmp_path / "graph.onnx", noise((16, 4)), "MatMul", restored=2.0)
    model = ov.Core().read_model(tmp_path / "graph.onnx")
    model.reshape(SHAPE)
    assert eight_bits.avoid_saturation(model) == 0


@pytest.mark.parametrize("enlarged", [False, True])
def test_a_weight_of_low_rank_is_computed_before_it_is_rounded(tmp_path, without_dot_products, enlarged):
    half, factors = (
        noise((16, 32, 3, 3)).astype(np.float16),
        Factors(noise((16, 2)).astype(np.float16), noise((2, 288)).astype(np.float16)),
    )
    weights = (half.astype(np.float32) + factors.product.reshape(half.shape)).astype(np.float16)
    for name, constant in (("whole", weights), ("computed", half)):
        write_graph(tmp_path / f"{name}.onnx", weights.astype(np.float32), "Conv", enlarged=enlarged)
        model = load(tmp_path / f"{name}.onnx")
        graph = model.graph
        graph.initializer.remove(next(tensor for tensor in graph.initializer if tensor.name == "weights"))
        graph.initializer.append(numpy_helper.from_array(constant, "half"))
        graph.node.insert(0, helper.make_node("Cast", ["half"], ["weights"], to=TensorProto.FLOAT))
        compute_weights(model, {"half": factors} if name == "computed" else {})
        save(model, tmp_path / f"{name}.onnx")
    x = abs(noise(SHAPE)).clip(0, 1)
    np.testing.assert_array_equal(run(tmp_path / "computed.onnx", x), run(tmp_path / "whole.onnx", x))
