"""Sampling in torch."""

from __future__ import annotations

import pytest
import torch

from trainer.base.base import encode_prompts
from trainer.base.sampling import draw_latents, rebuild_latents


@pytest.fixture
def contexts(base):
    with torch.no_grad():
        return encode_prompts(base, ["cyt mast", "neutrophil"]), encode_prompts(base, [""])


def draw(base, prompts, empty, **options):
    generator = torch.Generator().manual_seed(0)
    return draw_latents(base, prompts, empty, generator=generator, num_inference_steps=3, **options)


def test_latents_depend_on_the_seed_and_on_guidance_inside_its_interval(base, contexts):
    base.unet.train()
    plain = draw(base, *contexts, guidance_scale=1.0)
    assert plain.shape == (2, 4, 8, 8)
    assert base.unet.training
    guided = draw(base, *contexts, guidance_scale=5.0)
    assert (guided - plain).abs().max() > 1e-4
    outside = draw(base, *contexts, guidance_scale=5.0, guidance_interval=(100.0, 200.0))
    torch.testing.assert_close(outside, plain, rtol=0, atol=0)


def test_a_unet_that_sees_no_noise_rebuilds_noisy_latents(base, contexts):
    """With eps 0 the probability flow stands still, so the result is the latents with their first noise."""
    with torch.no_grad():
        for parameter in base.unet.conv_out.parameters():
            parameter.zero_()
    latents = torch.zeros(2, 4, 8, 8)
    found = rebuild_latents(base, latents, contexts[0], generator=torch.Generator().manual_seed(0))
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(found, 0.7 * noise)
