"""A distance of textures: it compares what a picture consists of, independent of the position.

A decoder cannot know the position of each grain of chromatin, so a distance that compares positions makes it blur all
grains. The sliced Wasserstein distance of feature maps (Heitz et al. 2021, arXiv:2006.07229) compares how often each
value occurs.
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
    """Return the sliced Wasserstein-1 distance between maps (B, C, ...) of found and of wanted pictures, a scalar.

    The features are projected on random directions in channel space. The distance between the two sets of projections
    is averaged over maps, pictures and directions.
    """
    distances = []
    for ours, theirs in zip(found, wanted, strict=True):
        directions = torch.randn(DIRECTIONS, ours.shape[1], generator=generator).to(ours.device)
        directions = directions / directions.norm(dim=1, keepdim=True)
        one, other = (torch.einsum("kc,bcl->bkl", directions, x.flatten(2)).sort(-1).values for x in (ours, theirs))
        distances.append((one - other).abs().mean())
    return torch.stack(distances).mean()


def patches(pictures: torch.Tensor) -> torch.Tensor:
    """Return every second 7 x 7 patch minus its mean: (B, 3, S, S) -> (B, 3 * 49, L)."""
    found = functional.unfold(pictures, PATCH, stride=2)
    return found - found.mean(1, keepdim=True)
