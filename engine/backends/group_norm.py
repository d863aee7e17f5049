"""Group normalisation that keeps a picture's channels last, for OpenVINO on the CPU.

The CPU plugin convolves with channels last and normalises groups of channels first: between the two it turns each
tensor round and back, which is a quarter of a decoder's time. Means over height and width, and a scale and a shift for
each channel, have no such order; what is left to groups are numbers, one for each channel of a picture.
"""

from __future__ import annotations

import math

import numpy as np
import openvino as ov
from openvino import opset13 as ops

__all__ = ["LEAST_ELEMENTS", "keep_channels_last"]

LEAST_ELEMENTS = 2**17
"""Of a tensor, half a megabyte in float32. Smaller ones stay in a core's cache, where turning them costs less than the
additional operations do."""
SPATIAL = (2, 3)


def keep_channels_last(model: ov.Model) -> int:
    """Replace every GroupNormalization of (B, C, H, W) float32 with LEAST_ELEMENTS or more by its equation (Wu and He
    2018, arXiv:1803.08494), the variance about the mean. The model's shapes must be static. Returns how many were
    replaced."""
    replaced = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() != "GroupNormalization":
            continue
        x, scale, shift = (port.get_source_output() for port in node.inputs())
        is_float32 = x.get_element_type() == ov.Type.f32
        if not is_float32 or len(x.get_shape()) != 4 or math.prod(x.get_shape()) < LEAST_ELEMENTS:
            continue
        settings = node.get_attributes()
        normalised = _normalised(x, scale, shift, settings["num_groups"], settings["epsilon"])
        normalised.set_friendly_name(node.get_friendly_name())
        node.output(0).replace(normalised.output(0))
        replaced += 1
    return replaced


def _normalised(x: ov.Output, scale: ov.Output, shift: ov.Output, groups: int, epsilon: float) -> ov.Node:
    channels = x.get_shape()[1]
    in_groups = [-1, groups, channels // groups]

    def mean_of_group(of_channels: ov.Node) -> ov.Node:
        """(B, C, 1, 1) -> (B, groups, 1)."""
        return ops.reduce_mean(ops.reshape(of_channels, in_groups, special_zero=False), [2], keep_dims=True)

    def by_channel(of_groups: ov.Node) -> ov.Node:
        """(B, groups, C / groups) -> (B, C, 1, 1)."""
        return ops.reshape(of_groups, [-1, channels, 1, 1], special_zero=False)

    mean = mean_of_group(ops.reduce_mean(x, SPATIAL, keep_dims=True))
    mean_of_each = ops.broadcast(mean, [x.get_shape()[0], *in_groups[1:]])
    centred = ops.subtract(x, by_channel(mean_of_each))
    variance = mean_of_group(ops.reduce_mean(ops.multiply(centred, centred), SPATIAL, keep_dims=True))
    inverse = ops.divide(np.float32(1), ops.sqrt(ops.add(variance, np.float32(epsilon))))
    factor = ops.multiply(ops.reshape(scale, in_groups[1:], special_zero=False), inverse)
    offset = ops.subtract(ops.reshape(shift, in_groups[1:], special_zero=False), ops.multiply(mean, factor))
    return ops.add(ops.multiply(x, by_channel(factor)), by_channel(offset))
