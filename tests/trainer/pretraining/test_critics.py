"""Critics learn to tell pictures from smoothed ones."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from trainer.pretraining.critics import Critics
from trainer.pretraining.perceptual import CHANNELS, open_perceptual_distance


@pytest.mark.slow
def test_critics_learn_to_tell_pictures_from_smoothed_ones():
    """Each critic learns in the steps in which the decoder does not."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    distance, critics = open_perceptual_distance(), Critics(CHANNELS[:3])

    def pair() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        coarse = torch.rand(6, 3, 4, 4, generator=generator)
        real = (
            functional.interpolate(coarse, size=32) - 0.5 + 0.2 * torch.randn(6, 3, 32, 32, generator=generator)
        ) / 2
        fake = functional.avg_pool2d(real, 3, 1, 1)
        return tuple(critics.inputs(x, distance.features(x)) for x in (real, fake))

    critics.standardise(distance.features(torch.rand(6, 3, 32, 32, generator=generator) - 0.5))
    optimizer = torch.optim.Adam(critics.parameters(), 1e-3)
    for step in range(40):
        real, fake = pair()
        loss = functional.softplus(critics(fake) - critics(real)).mean()
        if step % 4 == 0:
            loss = loss + 0.04 * (critics.steepness(real) + critics.steepness(fake))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        real, fake = pair()
        assert ((critics(real) > critics(fake)).float().mean(1) > 0.8).all()
