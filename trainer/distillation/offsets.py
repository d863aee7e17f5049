"""The offset of drawn pictures from photographs in their whitened statistics, averaged over many steps.

A batch says little about a small offset that all pictures have, because each picture differs from it by more. The mean
of many steps shows it, but has no gradient. So the loss is the product of both. If the network changes slowly, its
gradient is that of half the squared length of the running mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

__all__ = ["Offsets"]

WINDOW = 72
"""Pictures that a running mean averages over, with weights that fall."""
WEIGHT = 1 / 3


class Offsets(nn.Module):
    """Running means of offsets, one for all classes together and one for each class. They are part of checkpoints."""

    def __init__(self, classes: Sequence[str], sizes: Sequence[int]) -> None:
        """sizes: the numbers of directions of the blocks of statistics. Each block counts alike."""
        super().__init__()
        self._places, self._sizes = {name: place + 1 for place, name in enumerate(classes)}, list(sizes)
        self.means: torch.Tensor
        self.seen: torch.Tensor
        self.register_buffer("means", torch.zeros(len(classes) + 1, sum(sizes)))
        self.register_buffer("seen", torch.zeros(len(classes) + 1))

    def forward(self, name: str, offsets: torch.Tensor) -> torch.Tensor:
        """Return the loss of the offsets (B, D) of pictures of a class, and take them into the running means."""
        mean = offsets.mean(0)
        rows = [0, self._places[name]]
        with torch.no_grad():
            self.seen[rows] = (self.seen[rows] + len(offsets)).clamp(max=WINDOW)
            shares = (len(offsets) / self.seen[rows]).clamp(max=1)[:, None]
            self.means[rows] += shares * (mean - self.means[rows])
            running = self.means[rows].mean(0)
        blocks = [part.sum() for part in (mean * running).split(self._sizes)]
        return WEIGHT * torch.stack(blocks).mean()
