"""Small graphs in float16 whose rounding can be told by hand."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def half_graph(steps, **weights):
    """Return a graph: x (B, 4) float32, then the steps (operator, weight) in float16, then y float32.

    The outputs of the steps are called step_0, step_1, ...
    """
    nodes = [helper.make_node("Cast", ["x"], ["half"], to=TensorProto.FLOAT16)]
    before = "half"
    for i, (kind, weight) in enumerate(steps):
        nodes.append(helper.make_node(kind, [before, weight], [f"step_{i}"]))
        before = f"step_{i}"
    nodes.append(helper.make_node("Cast", [before], ["y"], to=TensorProto.FLOAT))
    inputs, outputs = ([helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4])] for name in ("x", "y"))
    tensors = [numpy_helper.from_array(np.float16(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "small", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)


def saved(model, folder):
    """Write a graph into a folder and return its path."""
    onnx.save(model, folder / "small.onnx")
    return folder / "small.onnx"
