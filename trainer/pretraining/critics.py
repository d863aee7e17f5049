"""The critics of a decoder's training: which of a picture and its reconstruction is the picture?

Each critic gives a picture one number, and only differences between a picture and what the decoder made of it count
(Jolicoeur-Martineau 2019, arXiv:1807.00734), so that what both show cancels and texture is left. All but two look
at frozen features, which tell textures apart from the first step on (Sauer et al. 2021, arXiv:2111.01007), these at
pixels.
"""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["Critics"]

WIDTH = 64


class Critics(nn.Module):
    """A critic for each feature map, of so many `channels`, then two of pixels."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.of_features = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Conv2d(count, WIDTH, 1), act(), nn.Conv2d(WIDTH, WIDTH, 3), act(), nn.Conv2d(WIDTH, 1, 1)
                )
                for count in channels
            ]
        )
        fine = [nn.Conv2d(3, 32, 3, padding=1), act(), nn.Conv2d(32, 64, 4, 2, padding=1), act()]
        coarse: list[nn.Module] = []
        for before, width in ((3, 32), (32, 64), (64, 96)):
            coarse += [nn.Conv2d(before, width, 4, 2, padding=1), act()]
        self.of_pixels = nn.ModuleList(
            [
                nn.Sequential(*fine, nn.Conv2d(64, 64, 3, padding=1), act(), nn.Conv2d(64, 1, 1)),
                nn.Sequential(*coarse, nn.Conv2d(96, 96, 3, padding=1), act(), nn.Conv2d(96, 1, 3, padding=1)),
            ]
        )
        # Small weights make the first hundreds of steps blind: torch's own let the numbers shrink at every layer.
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.kaiming_normal_(module.weight, 0.2)
                nn.init.zeros_(module.bias)
        for i, count in enumerate(channels):
            self.register_buffer(f"mean{i}", torch.zeros(1, count, 1, 1))
            self.register_buffer(f"deviation{i}", torch.ones(1, count, 1, 1))

    @torch.no_grad()
    def standardise(self, features: list[torch.Tensor]) -> None:
        """Features are seen in units of these, of real pictures: channel by channel, less their mean."""
        for i in range(len(self.of_features)):
            self.get_buffer(f"mean{i}").copy_(features[i].mean((0, 2, 3), keepdim=True))
            self.get_buffer(f"deviation{i}").copy_(features[i].std((0, 2, 3), keepdim=True) + 1e-3)

    def inputs(self, pictures: torch.Tensor, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """What each critic looks at, from pictures (B, 3, S, S) in [-1, 1] and their feature maps (B, C, h, w)."""
        seen = [
            (features[i] - self.get_buffer(f"mean{i}")) / self.get_buffer(f"deviation{i}")
            for i in range(len(self.of_features))
        ]
        return seen + [pictures] * len(self.of_pixels)

    def forward(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        """How real each picture looks to each critic, (critics, B), unbounded; only differences mean anything."""
        critics = [*self.of_features, *self.of_pixels]
        return torch.stack([critic(seen).mean((1, 2, 3)) for critic, seen in zip(critics, inputs, strict=True)])

    def steepness(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        """Mean over critics and pictures of the squared gradient by the input: R1 and R2 of Mescheder et al. (2018),
        arXiv:1801.04406, which keep critics from growing without end."""
        inputs = [seen.detach().requires_grad_() for seen in inputs]
        gradients = torch.autograd.grad(self(inputs).sum(), inputs, create_graph=True)
        return torch.stack([gradient.square().sum((1, 2, 3)).mean() for gradient in gradients]).mean()


def act() -> nn.Module:
    return nn.LeakyReLU(0.2)
