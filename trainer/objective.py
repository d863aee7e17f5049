"""The denoising objective that pretraining and fitting share."""

from __future__ import annotations

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel

__all__ = ["denoising_loss"]


def denoising_loss(
    unet: UNet2DConditionModel,
    scheduler: DDIMScheduler,
    latents: torch.Tensor,
    context: torch.Tensor,
    generator: torch.Generator,
    *,
    snr_gamma: float | None = None,
) -> torch.Tensor:
    """E || eps - eps_theta(x_t, t) ||^2 (equation 2.14 of the thesis), x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps.

    latents: (B, C, h, w) scaled; context: (B, T, D). With `snr_gamma` each sample weighs min(snr, gamma) / snr,
    min-SNR weighting for eps prediction (Hang et al. 2023, arXiv:2303.09556).
    """
    t = torch.randint(scheduler.config.num_train_timesteps, (len(latents),), generator=generator)
    eps = torch.randn(latents.shape, generator=generator)
    t, eps = t.to(latents.device), eps.to(latents.device)
    found = unet(scheduler.add_noise(latents, eps, t), t, context).sample
    error = (found - eps).pow(2).mean((1, 2, 3))
    if snr_gamma is not None:
        abar = scheduler.alphas_cumprod.to(latents.device)[t]
        snr = abar / (1 - abar)
        error = error * snr.clamp(max=snr_gamma) / snr
    return error.mean()
