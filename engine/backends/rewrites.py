"""The changes of a graph that make OpenVINO compute the same values faster."""

from __future__ import annotations

import openvino as ov

from engine.backends.eight_bits import LARGEST, avoid_saturation, largest_weight
from engine.backends.group_norm import keep_channels_last
from engine.backends.upsampling import fold_upsampling

__all__ = ["rewrite"]


def rewrite(model: ov.Model, rows: int | None = None) -> None:
    """Change a graph of static shapes to suit this processor; see the modules of the changes.

    rows: Make the changes that suit a batch of this number of rows.
    """
    largest = largest_weight()
    fold_upsampling(model, largest)
    if largest < LARGEST:
        avoid_saturation(model)
    keep_channels_last(model, rows)
