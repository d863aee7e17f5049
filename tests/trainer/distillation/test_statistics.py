"""Statistics of pictures: the spectrum of known pictures, and whitening that makes a small fault count."""

from __future__ import annotations

import math

import pytest
import torch

from trainer.distillation.statistics import EDGES, RINGS, Statistics, as_shown, gradients, places, spectrum
from trainer.pretraining.photograph_features import open_photograph_features
from trainer.training.devices import Compute

SIDE = 32


def test_a_wave_has_its_power_in_its_ring_and_colour():
    """Eight periods over 32 pixels are 0.25 cycles per pixel: the middle of the rings."""
    wave = torch.cos(2 * math.pi * 8 * torch.arange(SIDE) / SIDE).expand(1, 3, SIDE, SIDE)
    power = spectrum(0.5 * wave).view(3, RINGS)
    assert int(power[0].argmax()) == RINGS // 2
    # The three channels are equal, so the two differences of colours see nothing.
    assert float(power[1:].max()) < float(power[0].max()) - 8


def test_a_slope_lies_between_the_bounds_beside_it():
    """A slope of 5 grey levels per pixel is above the bounds up to 4, and below those from 6."""
    slope = (5 / 127.5 * torch.arange(SIDE)).expand(1, 3, SIDE, SIDE) - 1
    above = gradients(slope).exp().view(3, len(EDGES))[0]
    assert above[EDGES.index(3)] > 0.9
    assert above[EDGES.index(4)] > 0.7
    assert above[EDGES.index(6)] < 0.3
    assert above[EDGES.index(8)] < 0.1


def test_a_lattice_shows_at_its_places_and_noise_at_none():
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(8, 3, SIDE, SIDE, generator=generator)
    lattice = noise.clone()
    lattice[..., ::2] *= 2
    spreads = [float(places(one).view(8, 8, 3)[:, :4].std(1).mean()) for one in (noise, lattice)]
    assert spreads[1] > 4 * spreads[0]


def test_pictures_are_shown_as_a_file_holds_them_and_keep_their_gradient():
    pictures = torch.tensor([-1.5, -0.999, 0.1, 2.0], requires_grad=True)
    shown = as_shown(pictures)
    levels = (shown.detach() + 1) * 127.5
    assert torch.allclose(levels, levels.round(), atol=1e-4)
    assert shown.detach().abs().max() <= 1
    shown.sum().backward()
    assert pictures.grad is not None
    assert pictures.grad.tolist() == [0, 1, 1, 0]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_whitened_statistics_see_a_fault_where_photographs_hardly_differ(precision):
    """Photographs of two classes differ in brightness, and have grain of one strength. A little less grain is seen more
    than a change of brightness of the same size."""
    generator = torch.Generator().manual_seed(0)

    def draw(count, grain, light=0.0):
        levels = 0.2 * torch.randn(count, 1, 1, 1, generator=generator) + light
        return levels + grain * torch.randn(count, 3, SIDE, SIDE, generator=generator)

    features = open_photograph_features()
    features.standardise(draw(8, 0.05))
    statistics = Statistics(features, whitened=True, compute=Compute(precision=precision))
    with torch.no_grad():
        statistics.whiten([statistics.blocks(draw(12, 0.05, light)) for light in (-0.3, 0.3)])
        wanted, less, brighter = (
            statistics.vectors(statistics.blocks(draw(12, grain, 0.3 + light))).mean(0)
            for grain, light in ((0.05, 0), (0.045, 0), (0.05, 0.005))
        )
    assert (less - wanted).abs().sum() > 1.5 * (brighter - wanted).abs().sum()
