"""8-bit operands: which products get them, their scales, and graphs with weights in files or computed."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from exporter.computed import compute_weights
from exporter.low_rank import Factors
from exporter.quantisation import EXTREMES, observe, products_of, quantise, weights_of

HALF = onnx.TensorProto.FLOAT16
RNG = np.random.default_rng(0)
X = RNG.standard_normal((1, 4, 6, 6)).astype(np.float16)
WEIGHTS = {
    "first": RNG.standard_normal((8, 4, 1, 1)).astype(np.float16),
    "kernel": RNG.standard_normal((8, 8, 3, 3)).astype(np.float16),
    "matrix": RNG.standard_normal((6, 5)).astype(np.float16),
    "transposed": RNG.standard_normal((7, 5)).astype(np.float16),
}


@pytest.fixture
def plain():
    """Four products in a row. The first one reads the input."""
    nodes = [
        helper.make_node("Conv", ["x", "first"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "kernel"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("MatMul", ["c", "matrix"], ["d"]),
        helper.make_node("Reshape", ["d", "flat"], ["e"]),
        helper.make_node("Gemm", ["e", "transposed"], ["y"], transB=1),
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in WEIGHTS.items()]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", HALF, [1, 4, 6, 6])],
        [helper.make_tensor_value_info("y", HALF, [48, 7])],
        [*tensors, numpy_helper.from_array(np.array([-1, 5]), "flat")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)


def run(model, *outputs):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [value.astype(float) for value in session.run(list(outputs), {"x": X})]


def copy_of(model):
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return copied


def ranges_of(model):
    """Return the ranges of the activations, as an observing graph has them."""
    observing = copy_of(model)
    names = observe(observing)
    onnx.checker.check_model(observing, full_check=True)
    low, high = np.split(run(observing, EXTREMES)[0], 2)
    return dict(zip(names, zip(low, high, strict=True), strict=True))


def test_an_observing_graph_gives_the_extremes_of_every_activation(plain):
    ranges = ranges_of(plain)
    assert list(ranges) == ["b", "c", "e"]  # the convolution of the input stays in float
    watched = copy_of(plain)
    watched.graph.output.extend([helper.make_tensor_value_info(name, HALF, None) for name in ranges])
    for (name, found), values in zip(ranges.items(), run(watched, *ranges), strict=True):
        assert found == pytest.approx((values.min(), values.max()), rel=2e-3), name


def test_operands_are_rounded_with_a_scale_per_tensor_and_per_output_channel(plain, tmp_path):
    ranges, wanted = ranges_of(plain), run(plain, "y")[0]
    quantise(plain, ranges, weights_of(plain, tmp_path))
    onnx.checker.check_model(plain, full_check=True)
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in plain.graph.initializer}
    for name, others in {"kernel": (1, 2, 3), "matrix": (0,), "transposed": (1,)}.items():
        largest = abs(WEIGHTS[name].astype(float)).max(others)
        np.testing.assert_allclose(values[f"{name} scale"].astype(float), largest / 127, rtol=1e-3)
    low, high = ranges["c"]
    assert float(values["c scale"]) == pytest.approx((high - low) / 255, rel=1e-3)
    assert int(values["c zero"]) == pytest.approx(-low / (high - low) * 255, abs=0.51)
    assert int(values["b zero"]) == 0
    error = np.linalg.norm(run(plain, "y")[0] - wanted) / np.linalg.norm(wanted)
    assert 0 < error < 0.03


def test_weights_stay_in_their_file(plain, tmp_path):
    ranges = ranges_of(plain)
    onnx.save(
        copy_of(plain), tmp_path / "plain.onnx", save_as_external_data=True, location="weights.bin", size_threshold=50
    )
    before = (tmp_path / "weights.bin").read_bytes()
    model = onnx.load(tmp_path / "plain.onnx", load_external_data=False)
    quantise(model, ranges, weights_of(model, tmp_path))
    external = {tensor.name for tensor in model.graph.initializer if tensor.external_data}
    assert external >= set(WEIGHTS)
    assert not any(tensor.raw_data for tensor in model.graph.initializer if tensor.name in external)
    (tmp_path / "quantised.onnx").write_bytes(model.SerializeToString())
    inside = copy_of(plain)
    quantise(inside, ranges, weights_of(inside, tmp_path))
    session = ort.InferenceSession(tmp_path / "quantised.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(["y"], {"x": X})[0].astype(float), run(inside, "y")[0])
    assert (tmp_path / "weights.bin").read_bytes() == before


def test_weights_that_a_graph_computes_are_rounded_after_the_sum(plain, tmp_path):
    b, a = RNG.standard_normal((6, 2)).astype(np.float16), RNG.standard_normal((2, 5)).astype(np.float16)
    compute_weights(plain, {"matrix": Factors(b, a)})
    assert {product.weight for product in products_of(plain.graph)} == {"kernel", "matrix", "transposed"}
    quantise(plain, ranges_of(plain), weights_of(plain, tmp_path))
    onnx.checker.check_model(plain, full_check=True)
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in plain.graph.initializer}
    largest = abs(WEIGHTS["matrix"].astype(float) + b.astype(float) @ a).max(0)
    np.testing.assert_allclose(values["matrix scale"].astype(float), largest / 127, rtol=2e-3)


def test_a_shortcut_stays_in_float_if_a_graph_computes_it(plain):
    """A pointwise convolution that changes the number of channels, stored or computed."""
    plain.graph.node[2].attribute[0].ints[:] = [0, 0, 0, 0]
    kernel = next(tensor for tensor in plain.graph.initializer if tensor.name == "kernel")
    kernel.CopyFrom(numpy_helper.from_array(RNG.standard_normal((6, 8, 1, 1)).astype(np.float16), "kernel"))
    stored = [product.weight for product in products_of(plain.graph)]
    b, a = RNG.standard_normal((6, 2)).astype(np.float16), RNG.standard_normal((2, 8)).astype(np.float16)
    compute_weights(plain, {"kernel": Factors(b, a)})
    assert [product.weight for product in products_of(plain.graph)] == stored == ["matrix", "transposed"]
