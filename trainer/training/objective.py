"""The denoising objective that pretraining, fitting and embedding share."""

from __future__ import annotations

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel

from trainer.training.devices import draw_normal

__all__ = ["denoising_loss"]


def denoising_loss(
    unet: UNet2DConditionModel,
    scheduler: DDIMScheduler,
    latents: torch.Tensor,
    context: torch.Tensor,
    generator: torch.Generator,
    *,
    snr_gamma: float | None = None,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """E || eps - eps_theta(x_t, t) ||^2 (equation 2.14 of the thesis), x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps.

    latents: (B, C, h, w) scaled, on any device, where the noise is drawn too; context: (B, T, D). With `snr_gamma`
    each sample weighs min(snr, gamma) / snr, min-SNR weighting for eps prediction (Hang et al. 2023,
    arXiv:2303.09556). weights: (B, 1, h, w), a factor of each latent pixel's error. The network computes in its own
    dtype, the loss in float32.
    """
    t = torch.randint(scheduler.config.num_train_timesteps, (len(latents),), generator=generator)
    eps = draw_normal(latents.shape, generator, latents.device)
    abar = scheduler.alphas_cumprod[t]
    noisy = scheduler.add_noise(latents, eps, t).to(unet.device, unet.dtype)
    found = unet(noisy, t.to(unet.device), context.to(unet.device, unet.dtype)).sample
    error = (found.float() - eps.to(found.device)).pow(2)
    if weights is not None:
        error = error * weights.to(error.device)
    error = error.mean((1, 2, 3))
    if snr_gamma is not None:
        snr = (abar / (1 - abar)).to(error.device)
        error = error * snr.clamp(max=snr_gamma) / snr
    return error.mean()
