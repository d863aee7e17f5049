"""Twins in float32: a plain one that never rounds, a rounded one that rounds where the graph stores float16."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort

from exporter.computed import compute_weights, fold
from exporter.inspection.twins import float32_twin, renamed_like
from exporter.low_rank import Factors
from tests.conftest import ROOT
from tests.exporter.inspection.graphs import half_graph

CELLS = ROOT / "engine/bundles/cells"
X = np.array([[0.3, 0.6, 1.2, 3.3]], np.float32)


def run(model):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": X})[0]


def test_only_the_rounded_twin_loses_what_float16_cannot_hold():
    """From 2048 on, float16 has steps of 2. ONNX Runtime itself keeps float32 between two layers."""
    model = half_graph([("Add", "big"), ("Sub", "big")], big=2048)
    in_numpy = (np.float16(X) + np.float16(2048)) - np.float16(2048)
    np.testing.assert_array_equal(run(float32_twin(model, rounded=True)), in_numpy.astype(np.float32))
    np.testing.assert_allclose(run(float32_twin(model, rounded=False)), X, rtol=1e-3)
    np.testing.assert_allclose(run(model), X, rtol=1e-3)


def test_both_twins_hold_the_weights_of_the_float16_graph():
    model = half_graph([("Mul", "w")], w=0.1)
    exact = X * np.float32(np.float16(0.1))
    np.testing.assert_allclose(run(float32_twin(model, rounded=False)), exact, rtol=1e-6)
    assert np.all(run(float32_twin(model, rounded=True)) == np.float16(np.float16(X) * np.float16(0.1)))


def test_both_twins_round_the_weights_that_a_graph_computes():
    weight, b, a = 0.1 * np.eye(4), np.full((4, 1), 0.3), np.full((1, 4), 0.1)
    model = half_graph([("MatMul", "w")], w=weight)
    compute_weights(model, {"w": Factors(np.float16(b), np.float16(a))})
    constant = onnx.ModelProto()
    constant.CopyFrom(model)
    fold(constant)
    for rounded in (False, True):
        np.testing.assert_array_equal(
            run(float32_twin(model, rounded=rounded)), run(float32_twin(constant, rounded=rounded))
        )


def test_every_layer_of_an_8_bit_graph_gets_the_name_of_its_float_layer():
    plain, quantised = (
        onnx.load(CELLS / f"vae_decoder.{ending}", load_external_data=False) for ending in ("onnx", "int8.onnx")
    )
    renamed = renamed_like(quantised, plain)
    wanted = {name: node.op_type for node in plain.graph.node for name in node.output}
    found = {name: node.op_type for node in renamed.graph.node for name in node.output}
    assert len(found) > len(wanted) > 200
    assert {name: found[name] for name in wanted} == wanted
    assert {kind for name, kind in found.items() if name not in wanted} == {"QuantizeLinear", "DequantizeLinear"}
    names = [tensor.name for tensor in renamed.graph.initializer] + [*found]
    assert len(set(names)) == len(names)
