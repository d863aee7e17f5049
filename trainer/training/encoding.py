"""Latents of a set of pictures: posterior means of the autoencoder, in one or all symmetries of the square."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import AutoencoderKL

from trainer.pictures.dataset import SYMMETRIES, to_model_range, turn
from trainer.training.devices import Compute

__all__ = ["encode_set", "encode_symmetries"]

SIDE = 128
"""Side of the largest pictures of which `pictures_at_once` are encoded together. Of larger ones, as many pixels are."""


@torch.no_grad()
def encode_set(vae: AutoencoderKL, pictures: torch.Tensor, compute: Compute) -> torch.Tensor:
    """Return scaled posterior means: (N, 3, S, S) uint8 -> (N, C, h, w) float32 on the CPU."""
    vae.eval()
    at_once = max(1, compute.pictures_at_once * SIDE**2 // max(SIDE, pictures.shape[-1]) ** 2)
    with compute.autocast():
        chunks = [
            vae.encode(to_model_range(chunk.to(compute.device))).latent_dist.mean.float().cpu()
            for chunk in pictures.split(at_once)
        ]
    return torch.cat(chunks) * vae.config.scaling_factor


def encode_symmetries(
    vae: AutoencoderKL, pictures: torch.Tensor, compute: Compute, symmetries: Sequence[int] = SYMMETRIES
) -> torch.Tensor:
    """Return scaled posterior means of the pictures in symmetries of the square, all eight unless others are given:
    (K, N, C, h, w) float32."""
    return torch.stack([encode_set(vae, turn(pictures, which), compute) for which in symmetries])
