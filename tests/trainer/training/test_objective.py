"""The denoising loss and its weights."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from diffusers import DDIMScheduler

from trainer.base.stable_diffusion import SCHEDULER
from trainer.training.devices import draw_normal
from trainer.training.objective import denoising_loss

LATENTS, CONTEXT = torch.zeros(64, 4, 8, 8), torch.zeros(64, 8, 16)


class Silent:
    """A UNet that predicts no noise, so that its error is the noise itself."""

    device, dtype = torch.device("cpu"), torch.float32

    def __call__(self, noisy, t, context):
        return SimpleNamespace(sample=torch.zeros_like(noisy))


def loss(**options):
    generator = torch.Generator().manual_seed(0)
    return float(denoising_loss(Silent(), DDIMScheduler(**SCHEDULER), LATENTS, CONTEXT, generator, **options))


def test_the_error_of_no_prediction_is_the_mean_square_of_the_noise():
    generator = torch.Generator().manual_seed(0)
    torch.randint(1000, (64,), generator=generator)
    assert loss() == pytest.approx(float(draw_normal(LATENTS.shape, generator, LATENTS.device).pow(2).mean()), rel=1e-5)
    assert loss() == pytest.approx(1, abs=0.05)


def test_min_snr_lowers_the_weight_of_little_noise_and_alpha_that_of_a_pixel():
    assert 0 < loss(snr_gamma=1.0) < loss(snr_gamma=5.0) < loss()
    assert loss(snr_gamma=1e9) == pytest.approx(loss(), rel=1e-5)
    half = torch.ones(64, 1, 8, 8)
    half[..., :4] = 0
    assert loss(weights=half) == pytest.approx(loss() / 2, rel=0.05)
