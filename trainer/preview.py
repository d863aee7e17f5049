"""A picture of a training as it stands, drawn by DPM++ 2M in torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from engine.samplers import plan_steps
from engine.schedules import NoiseSchedule
from trainer.bases import Base

__all__ = ["draw_preview"]


@torch.no_grad()
def draw_preview(
    base: Base,
    context: torch.Tensor,
    path: Path,
    *,
    seed: int = 0,
    num_inference_steps: int = 20,
    guidance_scale: float = 7.0,
    pictures: int = 4,
) -> None:
    """Write a row of pictures. context: (2, T, D), the prompt's embeddings and the empty one's.

    Nothing of the training's random state is touched: the noise has a generator of its own.
    """
    unet, config = base.unet, base.scheduler.config
    device, dtype = unet.device, unet.dtype
    noise = NoiseSchedule(config.beta_start, config.beta_end, config.num_train_timesteps)
    plan = plan_steps(noise, sampler="dpmpp_2m", schedule="karras", num_inference_steps=num_inference_steps)
    side, channels = unet.config.sample_size, unet.config.in_channels
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(pictures, channels, side, side, generator=generator).to(device) * plan.initial_scale
    conditions = context.to(device, dtype).repeat_interleave(pictures, 0)
    previous = torch.zeros_like(x)
    training = unet.training
    unet.eval()
    for row in plan.rows:
        doubled = torch.cat([x, x]) * row.c_in
        t = torch.tensor(row.timestep, dtype=torch.float32, device=device)
        cond, uncond = unet(doubled.to(dtype), t, conditions).sample.float().chunk(2)
        denoised = x - row.sigma * (uncond + guidance_scale * (cond - uncond))
        x = row.a * x + row.b * denoised + row.c * previous
        previous = denoised
    unet.train(training)
    latents = (x / base.vae.config.scaling_factor).to(base.vae.device, base.vae.dtype)
    images = (base.vae.decode(latents).sample.float() / 2 + 0.5).clamp(0, 1) * 255
    row_of = np.concatenate(list(images.permute(0, 2, 3, 1).to(torch.uint8).cpu().numpy()), axis=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(row_of).save(path)
