"""LPIPS, a distance of pictures in the features of an AlexNet, used to train the decoder of a small base.

Zhang et al. (2018), arXiv:1801.03924, with the shift-tolerant AlexNet of Ghildyal and Liu (2022), arXiv:2207.13686.
Only the weights of their package are used (BSD 2-Clause), because its code needs torchvision.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from trainer.pretraining.package_weights import find_weights

__all__ = ["CHANNELS", "PerceptualDistance", "open_perceptual_distance"]

CHANNELS = (64, 192, 384, 256, 256)
"""Channels of the five maps of features."""
PACKAGE, FILE = "stlpips_pytorch", "weights/vST0.0/alex_shift_tolerant.pth"
SHA256 = "b356b382f96010f77d085ee8343ecd9fd322d0a56e8de2b2d0549fafcad8b9ee"


class BlurPool(nn.Module):
    """Halves the grid after a 3 x 3 binomial filter, with two reflected pixels at each edge (Zhang 2019,
    arXiv:1904.11486)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.filt: torch.Tensor
        self.register_buffer("filt", torch.zeros(channels, 1, 3, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> (B, C, h / 2 + 1, w / 2 + 1)."""
        return functional.conv2d(
            functional.pad(x, (2, 2, 2, 2), "reflect"), self.filt.to(x.dtype), stride=2, groups=x.shape[1]
        )


class PerceptualDistance(nn.Module):
    """The weighted squared difference of unit-length features, averaged over the picture and summed over five layers.

    The names of the modules are those in the file of weights.
    """

    def __init__(self) -> None:
        super().__init__()
        layers = [
            [nn.Conv2d(3, 64, 11, padding=2), BlurPool(64), nn.ReLU()],
            [nn.MaxPool2d(3, 1), BlurPool(64), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU()],
            [nn.MaxPool2d(3, 1), BlurPool(192), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()],
            [nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()],
            [nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()],
        ]
        self.net, place = nn.Module(), 0
        for i, modules in enumerate(layers):
            self.net.add_module(f"slice{i + 1}", part := nn.Sequential())
            for module in modules:
                part.add_module(str(place), module)
                place += 1
        self.scaling_layer = nn.Module()
        self.scaling_layer.register_buffer("shift", torch.zeros(1, 3, 1, 1))
        self.scaling_layer.register_buffer("scale", torch.ones(1, 3, 1, 1))
        for i, channels in enumerate(CHANNELS):
            # In the file, a dropout layer comes before the weights.
            head = nn.Sequential(nn.Identity(), nn.Conv2d(channels, 1, 1, bias=False))
            self.add_module(f"lin{i}", nn.ModuleDict({"model": head}))

    def features(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """Return five maps (B, C, h, w) of unit length at each position, from pictures (B, 3, S, S) in [-1, 1]."""
        scaling = self.scaling_layer
        x = (pictures - scaling.get_buffer("shift")) / scaling.get_buffer("scale")
        found = []
        for part in self.net.children():
            x = part(x)
            found.append(x / (x.float().square().sum(1, keepdim=True).sqrt() + 1e-10))
        return found

    def between(self, found: list[torch.Tensor], wanted: list[torch.Tensor]) -> torch.Tensor:
        """Return the distances (B,) float32 between pictures, from their `features`."""
        distance = torch.zeros(len(found[0]), device=found[0].device)
        for i, (ours, theirs) in enumerate(zip(found, wanted, strict=True)):
            weights = self.get_parameter(f"lin{i}.model.1.weight").float()
            difference = (ours.float() - theirs.float()).square()
            distance = distance + functional.conv2d(difference, weights).mean((1, 2, 3))
        return distance

    def forward(self, found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Return the distances (B,) float32 between pictures (B, 3, S, S) in [-1, 1] and their targets."""
        return self.between(self.features(found), self.features(wanted))


def open_perceptual_distance() -> PerceptualDistance:
    """Return the frozen distance with the weights of the package stlpips-pytorch.

    Raises RequestError if the weights are missing or have another SHA-256.
    """
    path = find_weights("The weights of the perceptual distance", PACKAGE, FILE, SHA256, "stlpips-pytorch")
    distance = PerceptualDistance()
    distance.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return distance.requires_grad_(False).eval()
