"""Sampling in torch: drawing latents for previews, and rebuilding latents for the training of the decoder."""

from __future__ import annotations

import math

import numpy as np
import torch

from engine.sampling.samplers import plan_steps
from engine.sampling.signal_leak import SignalLeak
from trainer.base.base import Base

__all__ = ["draw_latents", "rebuild_latents"]

REBUILT_FROM = (0.7, 0.4, 0.2, 0.1, 0.05)
"""Noise levels, in standard deviations of the latents."""


@torch.no_grad()
def draw_latents(
    base: Base,
    prompts: torch.Tensor,
    empty: torch.Tensor,
    *,
    generator: torch.Generator,
    guidance_scale: float,
    guidance_interval: tuple[float, float] = (0.0, math.inf),
    num_inference_steps: int = 20,
    leak: SignalLeak | None = None,
) -> torch.Tensor:
    """Return latents (B, C, h, w) float32 in the UNet's scale, drawn with DPM++ 2M.

    The random state of a training does not change.

    Args:
        prompts: (B, T, D) embeddings.
        empty: (1, T, D) embeddings of the empty prompt.
        guidance_interval: Smallest and largest sigma at which guidance is used.
        leak: Signal leak of the class, if sampling starts from it.
    """
    unet = base.unet
    device, dtype = unet.device, unet.dtype
    plan = plan_steps(base.noise, sampler="dpmpp_2m", schedule="karras", num_inference_steps=num_inference_steps)
    side, channels = unet.config.sample_size, unet.config.in_channels
    first = torch.randn(len(prompts), channels, side, side, generator=generator)
    if leak is not None:
        first = torch.from_numpy(leak.into(first.numpy(), plan))
    x = first.to(device) * plan.initial_scale
    prompts = prompts.to(device, dtype)
    both = torch.cat([prompts, empty.to(prompts).expand_as(prompts)])
    previous = torch.zeros_like(x)
    training = unet.training
    unet.eval()
    low, high = guidance_interval
    for row in plan.rows:
        guided = guidance_scale != 1 and low <= row.sigma <= high
        scaled = (torch.cat([x, x]) if guided else x) * row.c_in
        t = torch.tensor(row.timestep, dtype=torch.float32, device=device)
        eps = unet(scaled.to(dtype), t, both if guided else prompts).sample.float()
        if guided:
            cond, uncond = eps.chunk(2)
            eps = uncond + guidance_scale * (cond - uncond)
        denoised = x - row.sigma * eps
        x = row.a * x + row.b * denoised + row.c * previous
        previous = denoised
    unet.train(training)
    return x


@torch.no_grad()
def rebuild_latents(
    base: Base, latents: torch.Tensor, prompts: torch.Tensor, *, generator: torch.Generator
) -> torch.Tensor:
    """Return latents (B, C, h, w) that the UNet rebuilds under noise of deviation 0.7.

    The UNet takes five Euler steps without guidance. The result shows the same picture with details drawn by the UNet.
    prompts: (B, T, D) embeddings.
    """
    unet, noise = base.unet, base.noise
    x = latents + REBUILT_FROM[0] * torch.randn(latents.shape, generator=generator).to(latents.device)
    training = unet.training
    unet.eval()
    for sigma, following in zip(REBUILT_FROM, (*REBUILT_FROM[1:], 0.0), strict=True):
        t = torch.tensor(noise.timesteps(np.array(sigma)), dtype=torch.float32, device=unet.device)
        scaled = (x / (1 + sigma**2) ** 0.5).to(unet.dtype)
        x = x + (following - sigma) * unet(scaled, t, prompts.to(unet.device, unet.dtype)).sample.float()
    unet.train(training)
    return x
