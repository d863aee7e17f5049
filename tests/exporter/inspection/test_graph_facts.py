"""Facts of a graph that is made by hand, and of a graph of the tiny bundle."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engine.errors import RequestError
from exporter.inspection.graph_facts import LayerKind, TensorFacts, WeightFacts, graph_facts


def test_layers_types_shapes_and_weights_of_a_graph(tmp_path):
    """One weight that two layers use counts once. GroupNormalization has the type of its input."""
    weights = [
        numpy_helper.from_array(np.zeros((4, 4), np.float16), "w"),
        numpy_helper.from_array(np.zeros(4, np.float16), "scale"),
        numpy_helper.from_array(np.zeros(4, np.float16), "bias"),
    ]
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["half", "w"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["b"]),
        helper.make_node("GroupNormalization", ["b", "scale", "bias"], ["c"], num_groups=2),
        helper.make_node("Cast", ["c"], ["y"], to=TensorProto.FLOAT),
    ]
    inputs, outputs = ([helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4])] for name in ("x", "y"))
    graph = helper.make_graph(nodes, "small", inputs, outputs, weights)
    path = tmp_path / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)]), path)
    facts = graph_facts(path)
    assert facts.layers == (
        LayerKind("Cast", 2, ("float16", "float32")),
        LayerKind("MatMul", 2, ("float16",)),
        LayerKind("GroupNormalization", 1, ("float16",)),
    )
    assert (facts.layer_count, facts.opset, facts.size_bytes) == (5, 23, path.stat().st_size)
    assert facts.inputs == (TensorFacts("x", "float32", ("batch", 4)),)
    assert facts.outputs == (TensorFacts("y", "float32", ("batch", 4)),)
    assert facts.weights == (WeightFacts("in the graph", "float16", 3, 2 * (16 + 4 + 4)),)


def test_weights_outside_the_graph_are_counted_by_file_without_being_read(bundle_copy):
    stored = {name: (bundle_copy / name).stat().st_size for name in ("unet.bin", "unet.cyt_mast.bin")}
    for name in stored:
        (bundle_copy / name).unlink()
    found = {}
    for one in graph_facts(bundle_copy / "unet.cyt_mast.onnx").weights:
        found[one.file] = found.get(one.file, 0) + one.size_bytes
    del found["in the graph"]
    assert found.keys() == stored.keys()
    for name, size in stored.items():  # tensors begin at multiples of 64 bytes
        assert 0.95 * size < found[name] <= size


@pytest.mark.parametrize("content", [b"no graph", b""])
def test_a_file_that_is_no_graph_is_refused(content, tmp_path):
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(RequestError, match="expected: an ONNX graph"):
        graph_facts(tmp_path / "x.onnx")
