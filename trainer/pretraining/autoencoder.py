"""Training the autoencoder of a small base, and exact normalisation of its latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL

from engine.progress import Progress
from trainer.pictures.dataset import PictureSet, to_model_range, turn
from trainer.training.devices import Compute, draw_normal
from trainer.training.loop import Training, digest_parts
from trainer.training.settings import LoopSettings

__all__ = [
    "normalise_latents",
    "pixel_loss",
    "reconstruction_psnr_db",
    "train_autoencoder",
]

KL_WEIGHT = 1e-4
FULL_SHARE = 0.12


def train_autoencoder(
    vae: AutoencoderKL,
    data: PictureSet,
    settings: LoopSettings,
    folder: Path,
    compute: Compute,
    progress: Progress,
) -> dict[str, Any]:
    """Minimise the pixel loss + 1e-4 KL and return the record.

    The first 88 % of the steps see crops of half the side, which cost a quarter. The other steps see whole pictures,
    because group normalisation takes its statistics over the whole picture.
    """
    pictures = data.pictures.to(compute.device)

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        batch = pictures[torch.randint(len(pictures), (settings.batch_size,), generator=generator)]
        if step < (1 - FULL_SHARE) * settings.steps:
            half = data.size // 2
            top, left = torch.randint(half + 1, (2,), generator=generator).tolist()
            batch = batch[..., top : top + half, left : left + half]
        batch = turn(to_model_range(batch), int(torch.randint(8, (1,), generator=generator)))
        with compute.autocast():
            posterior = vae.encode(batch).latent_dist
            noise = draw_normal(posterior.mean.shape, generator, compute.device)
            found = vae.decode(posterior.mean + posterior.std * noise).sample
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        kl = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()
        return pixel_loss(found.float(), batch) + KL_WEIGHT * kl

    # Keys with an underscore are diffusers' own notes. One of them is a set, which has no fixed order.
    config = sorted(item for item in vae.config.items() if not item[0].startswith("_"))
    subject = digest_parts(data.pictures, config, compute.precision)
    return Training("vae", vae, loss_of, settings, folder, subject=subject).run(progress=progress)


def pixel_loss(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Return L1 + 4 MSE + 0.5 L1 of the gradients, for pictures (B, 3, S, S) in [-1, 1]."""
    error = found - wanted
    edges = (error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()) / 2
    return error.abs().mean() + 4 * (error**2).mean() + 0.5 * edges


@torch.no_grad()
def normalise_latents(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Give each latent channel zero mean and unit deviation, and return the normalised latents.

    The affine map is folded into the 1 x 1 convolutions before and after the latents, which changes no reconstruction:
    quant_conv: mean' = (mean - m) / s, logvar' = logvar - 2 log s; post_quant_conv(z' s + m) = post_quant_conv(z).
    """
    mean, std = (values.to(vae.device) for values in (latents.mean((0, 2, 3)), latents.std((0, 2, 3))))
    channels = len(mean)
    before, after = vae.quant_conv, vae.post_quant_conv
    before.weight[:channels] /= std[:, None, None, None]
    before.bias[:channels] = (before.bias[:channels] - mean) / std
    before.bias[channels:] -= 2 * std.log()
    after.bias += torch.einsum("oi,i->o", after.weight[:, :, 0, 0], mean)
    after.weight *= std[None, :, None, None]
    return (latents - mean[:, None, None].cpu()) / std[:, None, None].cpu()


@torch.no_grad()
def reconstruction_psnr_db(vae: AutoencoderKL, pictures: torch.Tensor, compute: Compute) -> float:
    """Return the mean PSNR in dB of pictures (N, 3, S, S) uint8 after encoding and decoding in float32.

    The PSNR of a picture is 10 log10(255^2 / MSE).
    """
    vae.eval()
    values = []
    for chunk in pictures.split(16):
        wanted = to_model_range(chunk).to(compute.device)
        found = vae.decode(vae.encode(wanted).latent_dist.mean).sample.clamp(-1, 1)
        mse = ((found - wanted) * 127.5).pow(2).mean((1, 2, 3))
        values.append(10 * torch.log10(255**2 / mse))
    return torch.cat(values).mean().item()
