"""8-bit operands in front of the products of a graph: which tensors are rounded, and to which scales.

QuantizeLinear and DequantizeLinear stand in front of both operands of every convolution and matrix product that has
weights (Jacob et al. 2018, arXiv:1712.05877; Wu et al. 2020, arXiv:2004.09602). Activations become unsigned 8-bit
numbers with one scale per tensor, weights signed ones with one scale per output channel. Outputs are not quantised. The
weights stay in their files: a graph of any size is changed in the memory of its largest weight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from exporter.computed import computed_shapes, computing_nodes, evaluate

__all__ = ["EXTREMES", "Product", "Range", "observe", "products_of", "quantise", "weights_of"]

EXTREMES = "extremes"
"""Output of an observing graph."""
ACTIVATION_STEPS, LARGEST_WEIGHT = 255, 127

Range = tuple[float, float]
"""The least and the largest value of a tensor."""
WeightOf = Callable[[str], NDArray[Any]]
"""Returns the values of a weight by its name."""


@dataclass(frozen=True)
class Product:
    """A convolution or matrix product of an activation with weights."""

    node: onnx.NodeProto

    @property
    def activation(self) -> str:
        """The name of the tensor that is multiplied with weights."""
        return str(self.node.input[0])

    @property
    def weight(self) -> str:
        """The name of the weights."""
        return str(self.node.input[1])

    @property
    def outputs_axis(self) -> int:
        """The axis of the weights that belongs to the output's channels."""
        transposed = any(attribute.name == "transB" and attribute.i for attribute in self.node.attribute)
        return 0 if self.node.op_type == "Conv" or transposed else 1


def products_of(graph: onnx.GraphProto) -> list[Product]:
    """Return the products of tensors with weights, stored or computed, that are worth 8 bits.

    Three kinds of convolutions stay in float, because they cost little and their inputs are bounded by no
    normalisation: those that read an input of the graph, those that make an output, and the shortcuts of residual
    blocks. In the UNet of Stable Diffusion 1.5 they are 2.7 % of the multiplications.
    """
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    shapes |= computed_shapes(graph)
    ends = {value.name for value in (*graph.input, *graph.output)}
    for node in graph.node:
        if node.op_type == "Cast" and not ends.isdisjoint((*node.input, *node.output)):
            ends.update((*node.input, *node.output))

    def stays(node: onnx.NodeProto) -> bool:
        shape = shapes.get(node.input[1], [])
        shortcut = shape[2:] == [1, 1] and shape[0] != shape[1]
        return node.op_type == "Conv" and (shortcut or not ends.isdisjoint((node.input[0], node.output[0])))

    nodes = [node for node in graph.node if node.op_type in ("Conv", "MatMul", "Gemm") and not stays(node)]
    return [Product(node) for node in nodes if node.input[1] in shapes and node.input[0] not in shapes]


def weights_of(model: onnx.ModelProto, folder: Path) -> WeightOf:
    """Return a function that reads a weight of a graph, whose files are in a folder, or computes it."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    computed = {node.output[0]: node for node in computing_nodes(model.graph)}

    def weight(name: str) -> NDArray[Any]:
        if name in computed:
            return evaluate(computed[name], [weight(source) for source in computed[name].input])
        # Reading a tensor fills it. The copy keeps the graph small.
        tensor = onnx.TensorProto()
        tensor.CopyFrom(stored[name])
        return numpy_helper.to_array(tensor, str(folder))

    return weight


def observe(model: onnx.ModelProto) -> list[str]:
    """Add the output EXTREMES to a graph: the minima of the activations of all products, then their maxima.

    EXTREMES is (2 * N,) float32. Returns the names of the N activations in this order.
    """
    graph = model.graph
    names = list(dict.fromkeys(product.activation for product in products_of(graph)))
    parts = []
    for kind in ("ReduceMin", "ReduceMax"):
        for name in names:
            short = f"{name} {kind}"
            graph.node.append(helper.make_node(kind, [name], [f"{short} half"], keepdims=0))
            graph.node.append(
                helper.make_node("Cast", [f"{short} half"], [f"{short} float"], to=onnx.TensorProto.FLOAT)
            )
            graph.node.append(helper.make_node("Reshape", [f"{short} float", f"{EXTREMES} shape"], [short]))
            parts.append(short)
    graph.initializer.append(numpy_helper.from_array(np.array([1]), f"{EXTREMES} shape"))
    graph.node.append(helper.make_node("Concat", parts, [EXTREMES], axis=0))
    graph.output.append(helper.make_tensor_value_info(EXTREMES, onnx.TensorProto.FLOAT, [len(parts)]))
    return names


def quantise(model: onnx.ModelProto, ranges: Mapping[str, Range], weight_of: WeightOf) -> None:
    """Round both operands of all products to 8 bits. ranges: of the activations, by name."""
    graph = model.graph
    sharing: dict[str, list[Product]] = {}
    for product in products_of(graph):
        sharing.setdefault(product.activation, []).append(product)
    in_front: dict[str, list[onnx.NodeProto]] = {}
    for name, products in sharing.items():
        nodes: list[onnx.NodeProto] = []
        first = products[0].node.output[0]
        for product in products:
            weight, axis = weight_of(product.weight), product.outputs_axis
            if product is products[0]:
                scale, zero = _of_activation(ranges[name])
                nodes += _rounding(graph, name, scale.astype(weight.dtype), zero)
            if f"{product.weight} 8 bits" not in {node.output[0] for node in nodes}:
                scales = _of_weight(weight, axis).astype(weight.dtype)
                nodes += _rounding(graph, product.weight, scales, np.zeros(len(scales), np.int8), axis)
            product.node.input[:2] = [f"{name} 8 bits", f"{product.weight} 8 bits"]
        in_front[first] = nodes
    ordered = [one for node in graph.node for one in (*in_front.get(node.output[0], ()), node)]
    del graph.node[:]
    graph.node.extend(ordered)


def _of_activation(found: Range) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Return scale and zero point for a range. They represent 0 exactly, because convolutions pad with it."""
    low, high = min(found[0], 0.0), max(found[1], 0.0)
    scale = (high - low) / ACTIVATION_STEPS or 1.0
    return np.array(scale), np.array(np.clip(np.rint(-low / scale), 0, ACTIVATION_STEPS), np.uint8)


def _of_weight(weight: NDArray[Any], axis: int) -> NDArray[np.float64]:
    """Return the scale of each output channel, (channels,): its largest value is LARGEST_WEIGHT steps."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    largest = np.maximum(weight.max(others), -weight.min(others)).astype(np.float64)
    return np.where(largest > 0, largest / LARGEST_WEIGHT, 1.0)


def _rounding(
    graph: onnx.GraphProto, source: str, scale: NDArray[Any], zero: NDArray[Any], axis: int | None = None
) -> list[onnx.NodeProto]:
    """Return the nodes that round a tensor to the tensor `<source> 8 bits`, and add their numbers to the graph."""
    numbers = [f"{source} scale", f"{source} zero"]
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(values), name) for values, name in zip((scale, zero), numbers, strict=True)
    )
    nodes = [
        helper.make_node("QuantizeLinear", [source, *numbers], [f"{source} whole"]),
        helper.make_node("DequantizeLinear", [f"{source} whole", *numbers], [f"{source} 8 bits"]),
    ]
    if axis is not None:
        for node in nodes:
            node.attribute.append(helper.make_attribute("axis", axis))
    return nodes
