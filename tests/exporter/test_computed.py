"""Weights that a graph computes: the same results as with constants on both runtimes, there and back."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import openvino as ov
import pytest
from onnx import helper, numpy_helper

from exporter.computed import compute_weights, computing_nodes, fold
from exporter.low_rank import Factors

SHAPES = {"product": (8, 6), "kernel": (8, 8, 3, 3)}
HALF = onnx.TensorProto.FLOAT16


@pytest.fixture
def plain():
    """A convolution with `kernel` after a product with `product`, in float16."""
    rng = np.random.default_rng(0)
    values = {name: rng.standard_normal(shape).astype(np.float16) for name, shape in SHAPES.items()}
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["y"], pads=[1, 1, 1, 1]),
        helper.make_node("MatMul", ["y", "product"], ["z"]),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", HALF, [1, 8, 4, 8])],
        [helper.make_tensor_value_info("z", HALF, [1, 8, 4, 6])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)


@pytest.fixture
def factors():
    rng = np.random.default_rng(1)
    return {
        name: Factors(
            rng.standard_normal((shape[0], 2)).astype(np.float16),
            rng.standard_normal((2, int(np.prod(shape[1:])))).astype(np.float16),
        )
        for name, shape in SHAPES.items()
    }


def results(model):
    """Return z by runtime, and what ONNX Runtime computes in each call."""
    x = np.random.default_rng(2).standard_normal((1, 8, 4, 8)).astype(np.float16)
    data = model.SerializeToString()
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    compiled = ov.Core().compile_model(ov.Core().read_model(data), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return session.run(None, {"x": x})[0].astype(float), np.array(compiled({"x": x})[0]).astype(float)


def test_both_runtimes_compute_what_constants_give(plain, factors):
    computed = onnx.ModelProto()
    computed.CopyFrom(plain)
    compute_weights(computed, factors)
    onnx.checker.check_model(computed, full_check=True)
    constant = onnx.ModelProto()
    constant.CopyFrom(computed)
    fold(constant)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in constant.graph.initializer}
    assert {name: value.shape for name, value in weights.items()} == SHAPES
    own = {tensor.name: numpy_helper.to_array(tensor) for tensor in plain.graph.initializer}
    for name, found in factors.items():
        wanted = own[name].astype(np.float32) + found.product.reshape(SHAPES[name])
        np.testing.assert_allclose(weights[name].astype(float), wanted, rtol=1e-3, atol=1e-3)
    assert not computing_nodes(constant.graph)
    for found, wanted in zip(results(computed), results(constant), strict=True):
        assert np.linalg.norm(found - wanted) <= 2e-3 * np.linalg.norm(wanted)


def test_an_ordinary_graph_computes_no_weights(plain):
    before = plain.SerializeToString(deterministic=True)
    assert computing_nodes(plain.graph) == []
    fold(plain)
    assert plain.SerializeToString(deterministic=True) == before
