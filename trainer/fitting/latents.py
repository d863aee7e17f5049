"""The latents of a training set, encoded once as a posterior: use one sample, the mean, or a new sample per step."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image

from engine.errors import RequestError
from trainer.pictures.dataset import PictureSet, to_model_range, turn

__all__ = ["LatentSet", "encode_posteriors", "read_alpha"]


class LatentSet:
    """Scaled latents (N, C, h, w), and weights of the loss (N, 1, h, w) with mean 1, or None.

    `sampling` is one of trainer.fitting.settings.LATENT_SAMPLING.
    """

    def __init__(
        self, mean: torch.Tensor, std: torch.Tensor, sampling: str, weights: torch.Tensor | None, seed: int
    ) -> None:
        self._mean, self._std = mean, std if sampling == "random" else None
        if sampling == "once":
            self._mean = mean + std * torch.randn(mean.shape, generator=torch.Generator().manual_seed(seed))
        self.weights = weights

    def __len__(self) -> int:
        return len(self._mean)

    def draw(self, rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the latents of these pictures for one step."""
        mean = self._mean[rows]
        return mean if self._std is None else mean + self._std[rows] * torch.randn(mean.shape, generator=generator)


@torch.no_grad()
def encode_posteriors(
    vae: AutoencoderKL, pictures: torch.Tensor, symmetries: range, device: torch.device, batch_size: int = 4
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and deviation of the posterior of pictures (N, 3, S, S) uint8 in each symmetry, scaled.

    Both have the shape (len(symmetries) * N, C, h, w).
    """
    vae.eval().to(device)
    means, deviations = [], []
    for which in symmetries:
        for chunk in turn(pictures, which).split(batch_size):
            posterior = vae.encode(to_model_range(chunk).to(device)).latent_dist
            means.append(posterior.mean.cpu())
            deviations.append(posterior.std.cpu())
    vae.to("cpu")
    scale = vae.config.scaling_factor
    return torch.cat(means) * scale, torch.cat(deviations) * scale


def read_alpha(data: PictureSet, symmetries: range, latent_side: int) -> torch.Tensor:
    """Return weights of the loss (len(symmetries) * N, 1, h, w) from the alpha channels, computed as in the WebUI.

    The channel is resized to the grid of the latents, its minimum is subtracted, and the result is divided by its mean.
    If the mean is zero, all weights are 1. Raises RequestError for a picture without an alpha channel.
    """
    weights = []
    for path in data.paths:
        with Image.open(path) as picture:
            if "A" not in picture.getbands():
                raise RequestError(
                    f"The picture {path}",
                    found=f"no alpha channel (mode {picture.mode})",
                    expected="an alpha channel, for --alpha-weight",
                    fix="remove the option, or prepare pictures with an alpha channel",
                )
            alpha = picture.getchannel("A").resize((latent_side, latent_side), Image.Resampling.BILINEAR)
        grid = torch.from_numpy(np.asarray(alpha, np.float32).copy())
        grid = grid - grid.min()
        mean = grid.mean()
        weights.append(grid / mean if mean > 0 else torch.ones_like(grid))
    stacked = torch.stack(weights)[:, None]
    return torch.cat([turn(stacked, which) for which in symmetries])
