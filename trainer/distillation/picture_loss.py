"""The loss of pixels: how much pictures of a small decoder differ from those of the VAE's decoder."""

from __future__ import annotations

import torch
from torch import nn

from trainer.pretraining.energy import Blur

__all__ = ["PictureLoss"]

SQUARES_WEIGHT, COARSE_WEIGHT = 2.0, 1.0
COARSE_SIGMAS = (1.5, 3.0, 6.0)
"""Standard deviations in pixels. A classifier of cells sees small errors of tone over 4 to 20 pixels, which hardly
count beside the many errors of single pixels."""


class PictureLoss(nn.Module):
    """The loss of a batch of pictures."""

    def __init__(self) -> None:
        super().__init__()
        self._blurs = nn.ModuleList(Blur(sigma) for sigma in COARSE_SIGMAS)

    def forward(self, found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Return how much pictures (B, 3, H, W) in [-1, 1] differ: a scalar.

        It is mean |d| + 2 mean d^2 + mean |dx d| + mean |dy d| + sum of mean |blur(d)| for the difference d, where dx
        and dy are the differences of neighbouring pixels and the sum is over Gaussian blurs of 1.5, 3 and 6 pixels. The
        edges keep fine texture, the blurs keep tones. H and W are at least 19.
        """
        d = found - wanted
        edges = d.diff(dim=-1).abs().mean() + d.diff(dim=-2).abs().mean()
        coarse = torch.stack([blur(d).abs().mean() for blur in self._blurs]).sum()
        return d.abs().mean() + SQUARES_WEIGHT * d.pow(2).mean() + edges + COARSE_WEIGHT * coarse
