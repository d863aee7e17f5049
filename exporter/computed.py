"""Weights that a graph computes: W + B A of small factors, which runtimes turn into a constant when they open a graph.

The product is computed in float32, because ONNX Runtime has no kernel for float16 products on processors and would
compute it anew for each batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from exporter.low_rank import Factors

__all__ = ["compute_weights", "computed_shapes", "computing_nodes", "evaluate", "fold", "uncomputed_name"]

FLOAT, HALF = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


def compute_weights(model: onnx.ModelProto, factors: Mapping[str, Factors]) -> None:
    """Let a graph compute weights from the initialisers that have their names so far.

    factors: by the name of the initialiser, which holds W in float16. Its readers get W + B A in its shape.
    """
    nodes: list[onnx.NodeProto] = []
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name in factors]:
        name, shape, found = tensor.name, list(tensor.dims), factors[tensor.name]
        tensor.name = weight = f"{name} W"
        for part, values in (("B", found.b), ("A", found.a)):
            model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), f"{name} {part}"))
        if len(shape) > 2:
            for part, sizes in (("flat", [shape[0], -1]), ("shape", shape)):
                model.graph.initializer.append(numpy_helper.from_array(np.array(sizes), f"{name} {part}"))
            nodes.append(helper.make_node("Reshape", [weight, f"{name} flat"], [f"{name} flat W"]))
            weight = f"{name} flat W"
        for source in (weight, f"{name} B", f"{name} A"):
            nodes.append(helper.make_node("Cast", [source], [f"{source} float"], to=FLOAT))
        terms = [f"{name} B float", f"{name} A float", f"{weight} float"]
        nodes.append(helper.make_node("Gemm", terms, [f"{name} float"]))
        half = f"{name} half" if len(shape) > 2 else name
        nodes.append(helper.make_node("Cast", [f"{name} float"], [half], to=HALF))
        if len(shape) > 2:
            nodes.append(helper.make_node("Reshape", [half, f"{name} shape"], [name]))
    _put_in_front(model.graph, nodes)


def uncomputed_name(name: str) -> str | None:
    """Return the name under which nodes read an initialiser of a graph with long names: that of W + B A for its W.

    None for the factors and shapes of `compute_weights`.
    """
    weight, _, part = name.partition(" ")
    return weight if part in ("", "W") else None


def computing_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes that compute weights. They read initialisers alone, and only such a graph multiplies those."""
    constant = {tensor.name for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type in ("Cast", "Gemm", "Reshape") and constant.issuperset(node.input):
            nodes.append(node)
            constant.update(node.output)
    return nodes if any(node.op_type == "Gemm" for node in nodes) else []


def computed_shapes(graph: onnx.GraphProto) -> dict[str, list[int]]:
    """Return the shapes of the tensors that `computing_nodes` make, by name. -1 stands for all axes after the first."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    found: dict[str, list[int]] = {}
    for node in computing_nodes(graph):
        if node.op_type == "Reshape":
            found[node.output[0]] = numpy_helper.to_array(stored[node.input[1]]).tolist()
        else:
            # The sum has the shape of its last term, W.
            source = node.input[-1]
            found[node.output[0]] = found[source] if source in found else list(stored[source].dims)
    return found


def fold(model: onnx.ModelProto) -> None:
    """Turn the weights that a graph computes into initialisers. All its weights must be in memory."""
    graph = model.graph
    nodes = computing_nodes(graph)
    values: dict[str, NDArray[Any]] = {}
    stored = {tensor.name: tensor for tensor in graph.initializer}

    def value(name: str) -> NDArray[Any]:
        return values[name] if name in values else numpy_helper.to_array(stored[name])

    for node in nodes:
        values[node.output[0]] = evaluate(node, [value(name) for name in node.input])
        graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    for name in {name for node in nodes for name in node.input} - used:
        if name in stored:
            graph.initializer.remove(stored[name])
    graph.initializer.extend(numpy_helper.from_array(values[name], name) for name in values if name in used)


def evaluate(node: onnx.NodeProto, inputs: list[NDArray[Any]]) -> NDArray[Any]:
    """Return the result of a node of `compute_weights` from the values of its inputs."""
    if node.op_type == "Gemm":
        b, a, weight = inputs
        return np.asarray(b @ a + weight)
    if node.op_type == "Reshape":
        return inputs[0].reshape(inputs[1])
    return inputs[0].astype(helper.tensor_dtype_to_np_dtype(node.attribute[0].i))


def _put_in_front(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    """Insert nodes before all others, because a graph lists its nodes in the order of their execution."""
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
