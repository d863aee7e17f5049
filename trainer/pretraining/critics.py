"""The critics of a decoder's training: they tell pictures from reconstructions.

Each critic gives a picture one number. Only the difference between a picture and its reconstruction counts
(Jolicoeur-Martineau 2019, arXiv:1807.00734), so what both have in common cancels and texture remains. All critics but
two see frozen features, which tell textures apart from the first step (Sauer et al. 2021, arXiv:2111.01007). The last
two see pixels.
"""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["Critics"]

WIDTH = 64


class Critics(nn.Module):
    """One critic for each feature map, whose channel counts are `channels`, and two critics for pixels."""

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
        # With torch's default weights the numbers shrink at every layer, and the first hundreds of steps learn nothing.
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.kaiming_normal_(module.weight, 0.2)
                nn.init.zeros_(module.bias)
        for i, count in enumerate(channels):
            self.register_buffer(f"mean{i}", torch.zeros(1, count, 1, 1))
            self.register_buffer(f"deviation{i}", torch.ones(1, count, 1, 1))

    @torch.no_grad()
    def standardise(self, features: list[torch.Tensor]) -> None:
        """Set mean and deviation of each channel, by which `inputs` standardises, from features of real pictures."""
        for i in range(len(self.of_features)):
            self.get_buffer(f"mean{i}").copy_(features[i].mean((0, 2, 3), keepdim=True))
            self.get_buffer(f"deviation{i}").copy_(features[i].std((0, 2, 3), keepdim=True) + 1e-3)

    def inputs(self, pictures: torch.Tensor, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return the input of each critic: pictures (B, 3, S, S) in [-1, 1], or their feature maps (B, C, h, w)."""
        seen = [
            (features[i] - self.get_buffer(f"mean{i}")) / self.get_buffer(f"deviation{i}")
            for i in range(len(self.of_features))
        ]
        return seen + [pictures] * len(self.of_pixels)

    def forward(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        """Return how real each picture looks to each critic: (critics, B), unbounded. Only differences count."""
        critics = [*self.of_features, *self.of_pixels]
        return torch.stack([critic(seen).mean((1, 2, 3)) for critic, seen in zip(critics, inputs, strict=True)])

    def steepness(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        """Return the squared gradient with respect to the input, averaged over critics and pictures.

        These are R1 and R2 of Mescheder et al. (2018), arXiv:1801.04406, which keep the critics bounded.
        """
        inputs = [seen.detach().requires_grad_() for seen in inputs]
        gradients = torch.autograd.grad(self(inputs).sum(), inputs, create_graph=True)
        return torch.stack([gradient.square().sum((1, 2, 3)).mean() for gradient in gradients]).mean()


def act() -> nn.Module:
    return nn.LeakyReLU(0.2)
