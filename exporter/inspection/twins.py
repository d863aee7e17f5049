"""Twins of a graph that compute in float32, so that ONNX Runtime on a processor shows what each number format costs.

ONNX Runtime has almost no float16 kernels for processors. It computes in float32, and leaves out the rounding between
two layers, so that its results on a float16 graph are nearly those in float32. A twin states every step instead:

- the plain twin holds the same weights, and no layer rounds;
- the rounded twin also rounds to float16 what the graph stores in float16. A GPU does the same: its kernels add up in
  float32 and store float16. Kernels that add up in float16 are not imitated.

An 8-bit graph has a plain twin, too: QuantizeLinear and DequantizeLinear stay, and everything else is in float32.
"""

from __future__ import annotations

from collections import defaultdict

import onnx
from onnx import TensorProto, helper, numpy_helper

from exporter.computed import computing_nodes
from exporter.inspection.graph_facts import tensor_types

__all__ = ["float32_twin", "renamed_like"]

QUANTISING = ("QuantizeLinear", "DequantizeLinear")


def float32_twin(model: onnx.ModelProto, *, rounded: bool) -> onnx.ModelProto:
    """Return a twin of a graph in float32; see the module.

    The tensors keep their names, and the weights their files: the twin casts float16 weights when it runs.

    rounded: round to float16 what the graph stores in float16. Weights that the graph computes are always rounded.
    """
    types = tensor_types(model)
    weights = {name for node in computing_nodes(model.graph) for name in node.output}
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    graph = twin.graph
    del graph.node[:], graph.value_info[:]
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            name, tensor.name = tensor.name, f"{tensor.name}/half"
            graph.node.append(_cast(tensor.name, name, TensorProto.FLOAT))
    for node in model.graph.node:
        copy = graph.node.add()
        copy.CopyFrom(node)
        _without_halves(copy)
        for i, name in enumerate(node.output):
            if (rounded or name in weights) and types.get(name) == TensorProto.FLOAT16:
                copy.output[i] = f"{name}/exact"
                graph.node.append(_cast(f"{name}/exact", f"{name}/rounded", TensorProto.FLOAT16))
                graph.node.append(_cast(f"{name}/rounded", name, TensorProto.FLOAT))
    return twin


def _cast(source: str, target: str, dtype: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"{target}/cast", to=dtype)


def _without_halves(node: onnx.NodeProto) -> None:
    """Replace float16 by float32 in the attributes of a node."""
    for attribute in node.attribute:
        if attribute.name in ("to", "dtype", "output_dtype") and attribute.i == TensorProto.FLOAT16:
            attribute.i = TensorProto.FLOAT
        elif attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == TensorProto.FLOAT16:
            values = numpy_helper.to_array(attribute.t).astype("float32")
            attribute.t.CopyFrom(numpy_helper.from_array(values, attribute.t.name))


def renamed_like(quantised: onnx.ModelProto, model: onnx.ModelProto) -> onnx.ModelProto:
    """Return an 8-bit graph whose tensors have the names of the float graph that it was made from.

    Tensors correspond if the same operators compute them from the same inputs and weights, apart from quantisation.
    """
    names: dict[int, list[str]] = defaultdict(list)
    for name, key in reversed(_keys(model).items()):
        names[key].append(name)
    made = {name for node in quantised.graph.node if node.op_type in QUANTISING for name in node.output}
    renamed = {"": ""}
    for name, key in _keys(quantised).items():
        # A quantised tensor has the key of the tensor before it. Tensors that are equal by construction share a key.
        renamed[name] = names[key].pop() if name not in made and names.get(key) else f"{name}/8-bit"
    twin = onnx.ModelProto()
    twin.CopyFrom(quantised)
    for node in twin.graph.node:
        node.input[:] = [renamed[name] for name in node.input]
        node.output[:] = [renamed[name] for name in node.output]
    for tensor in twin.graph.initializer:
        tensor.name = renamed[tensor.name]
    return twin


def _keys(model: onnx.ModelProto) -> dict[str, int]:
    """Return for every tensor a hash of how it is computed. Quantisation changes no hash."""
    keys = {value.name: hash(value.name) for value in model.graph.input}
    keys |= {tensor.name: hash(_content(tensor)) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in QUANTISING:
            keys[node.output[0]] = keys[node.input[0]]
            continue
        attributes = tuple(sorted(one.SerializeToString(deterministic=True) for one in node.attribute))
        inputs = tuple(keys.get(name, 0) for name in node.input)
        for i, name in enumerate(node.output):
            keys[name] = hash((node.op_type, attributes, inputs, i))
    return keys


def _content(tensor: onnx.TensorProto) -> tuple[object, ...]:
    """Return what a weight holds, or its place in a file."""
    if tensor.external_data:
        return tuple(sorted((entry.key, entry.value) for entry in tensor.external_data))
    return tensor.data_type, tuple(tensor.dims), numpy_helper.to_array(tensor).tobytes()
