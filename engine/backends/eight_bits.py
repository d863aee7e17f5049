"""8-bit operands in the graphs that OpenVINO opens, and processors whose 8-bit products overflow.

An 8-bit graph of a bundle rounds the operands of its convolutions and matrix products: a FakeQuantize, and behind it
operations that restore the scale. Products are of unsigned activations and signed weights. x86 processors without
8-bit dot products (VNNI) add two such products in 16 bits, which saturate: 2 * 255 * 127 is above 32,767. With weights
of at most 64 nothing saturates, at the price of one bit. Matrix products of 8 bits are slower than float32 there.
"""

from __future__ import annotations

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

from engine.machine import processor_features

__all__ = [
    "LARGEST",
    "as_type",
    "avoid_saturation",
    "constant_value",
    "eight_bits",
    "largest_weight",
    "quantisation",
    "quantised_like",
]

LARGEST, LARGEST_UNSATURATED = 127, 64
DOT_PRODUCTS = {"avx512_vnni", "avx_vnni", "amx_int8"}
KNOWN = {"Convert": 1, "Reshape": 1, "MatMul": 2, "Multiply": 2, "Add": 2}
"""Operations of constants whose value is known, with the number of their inputs that matter."""
TOLERANCE = 0.01
"""Largest relative difference of the ranges before and behind a quantisation. Its scale is rounded to float16."""

Range = tuple[NDArray[np.float64], NDArray[np.float64]]


def largest_weight() -> int:
    """Return the largest 8-bit weight whose products do not saturate on this processor."""
    features = set(processor_features().split())
    return LARGEST_UNSATURATED if "avx2" in features and not features & DOT_PRODUCTS else LARGEST


def avoid_saturation(model: ov.Model) -> int:
    """Suit an 8-bit graph to a processor without 8-bit dot products.

    Matrix products become float32 again. The 8-bit weights of convolutions become at most LARGEST_UNSATURATED, rounded
    from the weights in the file. Returns the number of operations that changed.
    """
    changed = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() not in ("MatMul", "Convolution"):
            continue
        chains = [quantisation(node.input_value(side)) for side in (0, 1)]
        if not all(chains):
            continue
        sources = {side: chain[-1].input_value(0) for side, chain in enumerate(chains)}
        if node.get_type_name() == "Convolution":
            weights = constant_value(sources[1])
            if weights is None:
                continue
            sources = {1: eight_bits(weights, 0, LARGEST_UNSATURATED)}
        for side, source in sources.items():
            node.input(side).replace_source_output(as_type(source, node.get_input_element_type(side)))
        changed += 1
    return changed


def quantisation(output: ov.Output) -> list[ov.Node]:
    """Return the operations that quantise a tensor: the last one first, a FakeQuantize at the end.

    Empty if the tensor is not quantised, or if the operations do more than round and clip.
    """
    chain: list[ov.Node] = []
    while (node := output.get_node()).get_type_name() in ("Convert", "Subtract", "Multiply", "FakeQuantize"):
        if any(constant_value(node.input_value(i)) is None for i in range(1, node.get_input_size())):
            return []
        chain.append(node)
        if node.get_type_name() == "FakeQuantize":
            (low, high), (low_after, high_after) = _ranges(chain)
            near = TOLERANCE * (high - low)
            same = (abs(low_after - low) <= near).all() and (abs(high_after - high) <= near).all()
            return chain if same else []
        output = node.input_value(0)
    return []


def quantised_like(source: ov.Output, chain: list[ov.Node]) -> ov.Output:
    """Quantise a float32 tensor as a chain does, whose ranges must suit the shape. chain: see quantisation."""
    limits = [ops.constant(limit.astype(np.float32)) for limits in _ranges(chain) for limit in limits]
    return ops.fake_quantize(source, *limits, chain[-1].get_attributes()["levels"]).output(0)


def constant_value(output: ov.Output) -> NDArray[np.float64] | None:
    """Return the value of a constant, or what a graph computes from constants alone; None if the tensor is neither.

    Known operations are conversions, reshapes, and those of ONNX's Gemm, with which a graph computes W + B A.
    """
    node = output.get_node()
    kind = node.get_type_name()
    if kind == "Constant":
        return np.array(node.data, np.float64)
    if kind not in KNOWN:
        return None
    values = [constant_value(node.input_value(i)) for i in range(KNOWN[kind])]
    first, *others = values
    if first is None or any(value is None for value in others):
        return None
    if kind == "Reshape":
        return first.reshape(output.get_shape())
    found = np.asarray(first if kind == "Convert" else _together(node, first, others[0]))
    # A conversion to a narrower type rounds.
    return found.astype(output.get_element_type().to_dtype()).astype(np.float64)


def _together(node: ov.Node, first: NDArray[np.float64], second: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Return the result of a product or sum of two constants."""
    assert second is not None, "the caller knows both"
    kind, facts = node.get_type_name(), node.get_attributes()
    if kind == "MatMul":
        return (first.T if facts["transpose_a"] else first) @ (second.T if facts["transpose_b"] else second)
    return first + second if kind == "Add" else first * second


def eight_bits(weights: NDArray[np.float64], axis: int, largest: int) -> ov.Output:
    """Return float32 weights that are whole numbers of at most `largest` times one scale per index of an axis."""
    other = tuple(i for i in range(weights.ndim) if i != axis)
    extreme = abs(weights).max(axis=other, keepdims=True)
    scale = np.where(extreme > 0, extreme, 1) / largest
    whole = ops.constant(np.rint(weights / scale).astype(np.int8))
    return ops.multiply(ops.convert(whole, "f32"), ops.constant(scale.astype(np.float32))).output(0)


def as_type(output: ov.Output, element_type: ov.Type) -> ov.Output:
    """Return the tensor in another element type, or itself if it has that type."""
    same = output.get_element_type() == element_type
    return output if same else ops.convert(output, element_type).output(0)


def _ranges(chain: list[ov.Node]) -> tuple[Range, Range]:
    """Return the lowest and highest value before a quantisation and behind it."""
    *restoring, rounding = chain
    low, high, low_after, high_after = (_known(rounding.input_value(i)) for i in range(1, 5))
    for node in reversed(restoring):
        if node.get_type_name() == "Subtract":
            shift = _known(node.input_value(1))
            low_after, high_after = low_after - shift, high_after - shift
        elif node.get_type_name() == "Multiply":
            factor = _known(node.input_value(1))
            low_after, high_after = low_after * factor, high_after * factor
    return (low, high), (low_after, high_after)


def _known(output: ov.Output) -> NDArray[np.float64]:
    value = constant_value(output)
    assert value is not None, "quantisation returns operations with constant operands"
    return value
