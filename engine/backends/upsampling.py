"""Nearest upsampling before a convolution, folded into the convolution, for OpenVINO.

A 3 x 3 convolution behind a twofold nearest upsampling sees each pixel up to four times. The same sum is a 2 x 2
convolution of the small tensor, with four outputs for each former one: one per position in a square of 2 x 2 pixels.
It takes 4/9 of the multiplications (Shi et al. 2016, arXiv:1609.05158, explain the rearrangement).
"""

from __future__ import annotations

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

from engine.backends.eight_bits import as_type, constant_value, eight_bits, quantisation, quantised_like

__all__ = ["fold_upsampling"]

CONVOLUTION = {"strides": [1, 1], "dilations": [1, 1], "pads_begin": [1, 1], "pads_end": [1, 1], "auto_pad": "explicit"}
NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


def fold_upsampling(model: ov.Model, largest_weight: int) -> int:
    """Replace each twofold nearest upsampling and the 3 x 3 convolution behind it.

    Results are equal within float32 rounding. The folded weights of an 8-bit convolution are rounded to 8 bits from the
    weights in the file. The shapes of the model must be static.

    largest_weight: largest 8-bit weight. Returns the number of replacements.
    """
    replaced = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Convolution" or node.get_attributes() != CONVOLUTION:
            continue
        data, of_weights = (quantisation(node.input_value(side)) for side in (0, 1))
        small = _small(node, data)
        if small is None or bool(data) != bool(of_weights):
            continue
        weights = constant_value(of_weights[-1].input_value(0) if of_weights else node.input_value(1))
        if weights is None or weights.shape[2:] != (3, 3):
            continue
        x = as_type(small, ov.Type.f32)
        if data:
            folded = eight_bits(_folded(weights), 0, largest_weight)
            x = quantised_like(x, data)
        else:
            folded = ops.constant(_folded(weights).astype(np.float32)).output(0)
        result = as_type(_convolved(x, folded), node.get_output_element_type(0))
        result.get_node().set_friendly_name(node.get_friendly_name())
        node.output(0).replace(result)
        replaced += 1
    return replaced


def _small(convolution: ov.Node, chain: list[ov.Node]) -> ov.Output | None:
    """Return the tensor (B, C, h, w) that is enlarged for this convolution alone; None if there is none.

    chain: what quantises the enlarged tensor. One range must cover all of it.
    """
    numbers = [node.input_value(i) for node in chain for i in range(1, node.get_input_size())]
    if any(np.prod(number.get_shape()) > 1 for number in numbers):
        return None
    output = chain[-1].input_value(0) if chain else convolution.input_value(0)
    links = [*(node.output(0) for node in chain), output]
    while output.get_node().get_type_name() == "Convert":
        output = output.get_node().input_value(0)
        links.append(output)
    enlarging = output.get_node()
    if enlarging.get_type_name() != "Interpolate" or any(len(link.get_target_inputs()) > 1 for link in links):
        return None
    small, attributes = enlarging.input_value(0), enlarging.get_attributes()
    is_nearest = all(attributes[name] == value for name, value in NEAREST.items())
    batch, channels, height, width = small.get_shape()
    return small if is_nearest and list(output.get_shape()) == [batch, channels, 2 * height, 2 * width] else None


def _folded(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn (O, C, 3, 3) into (4 * O, C, 2, 2).

    Of the rows 2i + p of the large tensor, those with p = 0 see rows i - 1 and i of the small one, those with p = 1
    rows i and i + 1. The taps that see the same row are added.
    """
    # A 2 x 2 window lies on the border of two small pixels: on the second row of the first (p = 1) and on the first row
    # of the second (p = 0).
    rows = np.array([[[1, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 1]]], np.float64)
    outputs, channels = weights.shape[:2]
    folded: NDArray[np.float64] = np.einsum("pat,qbs,octs->pqocab", rows, rows, weights)
    return folded.reshape(4 * outputs, channels, 2, 2)


def _convolved(x: ov.Output, folded: ov.Output) -> ov.Output:
    """Convolve (B, C, h, w) to (B, 4 * O, h + 1, w + 1), rearrange it to twice the size, and cut the border."""
    windows = ops.convolution(x, folded, [1, 1], [1, 1], [1, 1], [1, 1])
    large = ops.depth_to_space(windows, "blocks_first", 2)
    ends = [side - 1 for side in large.get_output_shape(0)[2:]]
    return ops.slice(large, [1, 1], ends, [1, 1], [2, 3]).output(0)
