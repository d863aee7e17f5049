"""The denoising objective of pretraining, fitting and textual inversion."""

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
    """Return E || eps - eps_theta(x_t, t) ||^2 (equation 2.14 of the thesis) with
    x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps.

    The network computes in its own dtype, and the loss is computed in float32.

    Args:
        latents: (B, C, h, w), scaled. The noise is drawn on the same device.
        context: (B, T, D) prompt embeddings.
        snr_gamma: Weigh each sample by min(snr, gamma) / snr: min-SNR weighting for eps prediction (Hang et al. 2023,
            arXiv:2303.09556).
        weights: (B, 1, h, w), a factor for the error of each latent pixel.
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
