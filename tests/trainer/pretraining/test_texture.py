"""The distance of textures."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import wasserstein_distance

from trainer.pretraining.texture import texture_distance


def test_the_texture_distance_is_wassersteins_and_ignores_positions():
    generator = torch.Generator().manual_seed(0)
    found, wanted = (torch.randn(1, 1, 6, 7, generator=generator) * scale for scale in (1, 3))
    # In one dimension every direction is +1 or -1.
    expected = wasserstein_distance(found.flatten().numpy(), wanted.flatten().numpy())
    assert float(texture_distance([found], [wanted], generator)) == pytest.approx(expected, rel=1e-5)
    many = torch.randn(2, 5, 8, 8, generator=generator)
    moved = many.flatten(2)[..., torch.randperm(64, generator=generator)].unflatten(2, (8, 8))
    assert float(texture_distance([many], [moved], generator)) == pytest.approx(0, abs=1e-6)
