"""The check that all weights of a module are numbers."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["not_finite"]


def not_finite(module: nn.Module) -> str | None:
    """Return the name of the first tensor of a module that has NaN or infinity in it, or None."""
    for name, tensor in module.state_dict().items():
        # NaN is the extreme of whatever it stands in, so one pass without a copy tells both.
        if not all(torch.isfinite(extreme) for extreme in tensor.aminmax()):
            return name
    return None
