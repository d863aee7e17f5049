"""How similar a picture is to its target, by features of photographs and by texture.

Features are compared in a window of half the side, which costs a quarter. The maps of fine texture are compared twice:
in the window, and in half of the window at twice its size. The network of features knows photographs, whose finest
texture spans more pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from trainer.pretraining.perceptual import PerceptualDistance
from trainer.pretraining.texture import patches, texture_distance
from trainer.training.devices import Compute

__all__ = ["MAPS", "Comparison", "compare", "texture_maps"]

MAPS = 3
"""Number of maps of fine texture among the five maps of features."""
LEAST_WINDOW = 32
"""Smallest side in pixels that the network of features accepts."""


@dataclass(frozen=True)
class Comparison:
    """Result of a comparison: windows (B, 3, W, W), and MAPS maps of features at each of two sizes, float32."""

    loss: torch.Tensor
    """LPIPS + texture distances of features at two sizes and of patches: a scalar."""
    found: torch.Tensor
    wanted: torch.Tensor
    found_maps: list[torch.Tensor]
    wanted_maps: list[torch.Tensor]


def window_of(side: int) -> int:
    """Return the side of the window for pictures of this side."""
    return max(LEAST_WINDOW, side // 2)


def compare(
    distance: PerceptualDistance,
    found: torch.Tensor,
    wanted: torch.Tensor,
    *,
    paired: int,
    generator: torch.Generator,
    compute: Compute,
) -> Comparison:
    """Compare pictures (B, 3, S, S) in [-1, 1] with their targets, in one random window for all.

    The first `paired` pictures are also compared position by position (LPIPS). All pictures are compared by texture.
    """
    side, window = found.shape[-1], window_of(found.shape[-1])
    top, left = torch.randint(side - window + 1, (2,), generator=generator).tolist()
    found, wanted = (whole[..., top : top + window, left : left + window].contiguous() for whole in (found, wanted))
    with compute.autocast():
        ours = distance.features(found)
        with torch.no_grad():
            theirs = distance.features(wanted)
        loss = distance.between(*([x[:paired] for x in maps] for maps in (ours, theirs))).mean()
        corner = torch.randint(window - window // 2 + 1, (2,), generator=generator).tolist()
        ours = ours[:MAPS] + distance.features(enlarged(found, corner))[:MAPS]
        with torch.no_grad():
            theirs = theirs[:MAPS] + distance.features(enlarged(wanted, corner))[:MAPS]
    ours, theirs = ([x.float() for x in maps] for maps in (ours, theirs))
    scaled = [[x * x.shape[1] ** 0.5 for x in maps] for maps in (ours, theirs)]
    # The distance averages over maps. Doubling keeps each map's weight now that there are six maps instead of three.
    loss = loss + 2 * texture_distance(scaled[0], scaled[1], generator)
    loss = loss + texture_distance([patches(found)], [patches(wanted)], generator)
    return Comparison(loss, found, wanted, ours, theirs)


def texture_maps(distance: PerceptualDistance, pictures: torch.Tensor) -> list[torch.Tensor]:
    """Return feature maps of the central window, followed by feature maps of its enlarged centre.

    pictures: (B, 3, S, S).
    """
    side, window = pictures.shape[-1], window_of(pictures.shape[-1])
    margin = (side - window) // 2
    middle = pictures[..., margin : margin + window, margin : margin + window]
    larger = distance.features(enlarged(middle, [window // 4, window // 4]))
    return distance.features(middle)[:MAPS] + larger[:MAPS]


def enlarged(pictures: torch.Tensor, corner: list[int]) -> torch.Tensor:
    """Return the S/2 x S/2 pixels from `corner` (top, left) at twice their size: (B, 3, S, S) -> (B, 3, S, S)."""
    half, (top, left) = pictures.shape[-1] // 2, corner
    return functional.interpolate(pictures[..., top : top + half, left : left + half], scale_factor=2, mode="bicubic")
