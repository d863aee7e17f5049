"""Which prompt and which crop of new pictures the base already draws best.

A diffusion model is a classifier (Li et al. 2023, arXiv:2303.16203): of several prompts, the one under which it removes
noise best describes a picture best. Only high noise is used here. It leaves the size and place of the cell visible and
hides sharpness, so that pictures of different crops can be compared, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from trainer.base.base import Base, encode_prompts
from trainer.training.devices import Compute, choose_attention
from trainer.training.encoding import encode_set

__all__ = ["SIGMAS", "Nearest", "losses_by_prompt", "nearest"]

SIGMAS = (8.0, 5.0, 2.5)
"""Noise levels, relative to the standard deviation of the latents."""
MOST_PICTURES = 16


@dataclass(frozen=True)
class Nearest:
    """The prompt and the crop under which the base removes noise best."""

    prompt: str
    crop: float
    losses: dict[tuple[float, str], float]
    """Mean squared error of the denoised latents by crop and prompt."""

    def loss(self, crop: float) -> float:
        """Return the loss of the best prompt for a crop."""
        return min(loss for (found, _), loss in self.losses.items() if found == crop)


def nearest(
    base: Base,
    by_crop: dict[float, torch.Tensor],
    prompts: Sequence[str],
    compute: Compute,
    tick: Callable[[], None] = lambda: None,
) -> Nearest:
    """Return the prompt and the crop with the smallest loss.

    by_crop: the same pictures (N, 3, S, S) uint8 by their crop. Up to 16 of them are used, evenly spread.
    tick: called len(SIGMAS) times per crop.
    """
    losses = {
        (crop, prompt): loss
        for crop, pictures in by_crop.items()
        for prompt, loss in losses_by_prompt(base, pictures, prompts, compute, tick).items()
    }
    crop, prompt = min(losses, key=lambda key: losses[key])
    return Nearest(prompt, crop, losses)


@torch.no_grad()
def losses_by_prompt(
    base: Base,
    pictures: torch.Tensor,
    prompts: Sequence[str],
    compute: Compute,
    tick: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Return the mean squared error of the denoised latents under each prompt, with the same noise for all prompts."""
    chosen = pictures[:: -(-len(pictures) // MOST_PICTURES)]
    latents = encode_set(base.vae.to(compute.device), chosen, compute).to(compute.device)
    unet = base.unet.to(compute.device).eval()
    choose_attention(unet, compute.device)
    contexts = encode_prompts(base, list(prompts)).to(compute.device)
    alphas = base.scheduler.alphas_cumprod
    generator = torch.Generator().manual_seed(0)
    totals = torch.zeros(len(prompts))
    for sigma in SIGMAS:
        timestep = int((((1 - alphas) / alphas).sqrt() - sigma).abs().argmin())
        alpha = alphas[timestep].to(compute.device)
        eps = torch.randn(latents.shape, generator=generator).to(compute.device)
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * eps
        for place, context in enumerate(contexts):
            with compute.autocast():
                found = unet(noisy, timestep, context.expand(len(noisy), -1, -1)).sample.float()
            totals[place] += ((found - eps) ** 2).mean().cpu() * float((1 - alpha) / alpha)
        tick()
    return dict(zip(prompts, (totals / len(SIGMAS)).tolist(), strict=True))
