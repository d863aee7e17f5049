"""A distance of textures: what a picture is made of, wherever it lies.

A decoder can not know where each grain of chromatin lies, so a distance of places makes it blur them all. The sliced
Wasserstein distance of feature maps (Heitz et al. 2021, arXiv:2006.07229) compares how often each value occurs.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch.nn import functional

__all__ = ["patches", "texture_distance"]

DIRECTIONS = 48
PATCH = 7


def texture_distance(
    found: Iterable[torch.Tensor], wanted: Iterable[torch.Tensor], generator: torch.Generator
) -> torch.Tensor:
    """Maps (B, C, ...) of found and of wanted pictures -> scalar: the mean over maps, pictures and random directions
    in channel space of the Wasserstein-1 distance between the two sets of projections."""
    distances = []
    for ours, theirs in zip(found, wanted, strict=True):
        directions = torch.randn(DIRECTIONS, ours.shape[1], generator=generator).to(ours.device)
        directions = directions / directions.norm(dim=1, keepdim=True)
        one, other = (torch.einsum("kc,bcl->bkl", directions, x.flatten(2)).sort(-1).values for x in (ours, theirs))
        distances.append((one - other).abs().mean())
    return torch.stack(distances).mean()


def patches(pictures: torch.Tensor) -> torch.Tensor:
    """(B, 3, S, S) -> (B, 3 * 49, L): every second 7 x 7 patch, less its mean."""
    found = functional.unfold(pictures, PATCH, stride=2)
    return found - found.mean(1, keepdim=True)
