"""Group normalisation that keeps channels last, for OpenVINO on the CPU.

The CPU plugin convolves with channels last, but its group normalisation needs channels first. It reorders each tensor
before and after the normalisation, which takes a quarter of a decoder's time. This module computes means over height
and width, and applies one scale and one shift per channel, which work in any order. Only small tensors, with one number
per channel of a picture, are rearranged into groups.
"""

from __future__ import annotations

import math

import numpy as np
import openvino as ov
from openvino import opset13 as ops

__all__ = ["LEAST_ELEMENTS", "keep_channels_last"]

LEAST_ELEMENTS = 2**17
"""Smallest number of elements of a tensor to replace, half a megabyte in float32. A smaller tensor stays in the cache
of a core, where reordering costs less than the additional operations."""
SPATIAL = (2, 3)


def keep_channels_last(model: ov.Model, rows: int | None = None) -> int:
    """Replace each GroupNormalization of a large (B, C, H, W) float32 tensor by its equation.

    The equation is that of Wu and He 2018 (arXiv:1803.08494), with the variance about the mean. Large means at least
    LEAST_ELEMENTS. The shapes of the model must be static. Returns the number of replacements.

    rows: Measure tensors as if B were this number. A graph of fewer rows is then changed as that of a whole batch is,
        and computes the same digits.
    """
    replaced = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() != "GroupNormalization":
            continue
        x, scale, shift = (port.get_source_output() for port in node.inputs())
        is_float32 = x.get_element_type() == ov.Type.f32
        if not is_float32 or len(x.get_shape()) != 4:
            continue
        batch, *picture = x.get_shape()
        if (rows or batch) * math.prod(picture) < LEAST_ELEMENTS:
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
        """Average (B, C, 1, 1) over groups: (B, groups, 1)."""
        return ops.reduce_mean(ops.reshape(of_channels, in_groups, special_zero=False), [2], keep_dims=True)

    def by_channel(of_groups: ov.Node) -> ov.Node:
        """Reshape (B, groups, C / groups) to (B, C, 1, 1)."""
        return ops.reshape(of_groups, [-1, channels, 1, 1], special_zero=False)

    mean = mean_of_group(ops.reduce_mean(x, SPATIAL, keep_dims=True))
    mean_of_each = ops.broadcast(mean, [x.get_shape()[0], *in_groups[1:]])
    centred = ops.subtract(x, by_channel(mean_of_each))
    variance = mean_of_group(ops.reduce_mean(ops.multiply(centred, centred), SPATIAL, keep_dims=True))
    inverse = ops.divide(np.float32(1), ops.sqrt(ops.add(variance, np.float32(epsilon))))
    factor = ops.multiply(ops.reshape(scale, in_groups[1:], special_zero=False), inverse)
    offset = ops.subtract(ops.reshape(shift, in_groups[1:], special_zero=False), ops.multiply(mean, factor))
    return ops.add(ops.multiply(x, by_channel(factor)), by_channel(offset))
