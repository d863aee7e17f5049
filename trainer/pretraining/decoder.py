"""The last stage of a base's training: the decoder learns texture from critics, and the latents stay as they are.

A pixel loss averages over what the latents do not determine, and so it blurs chromatin. The decoder is therefore
trained with LPIPS, with a distance of textures, and against critics that tell its pictures from real ones, as Esser et
al. (2021), arXiv:2012.09841, train a whole autoencoder.

The latents that a denoiser draws are never exact. A decoder that has seen only exact latents turns their errors into
texture. Therefore the latents of the encoder are disturbed a little, and others are rebuilt by the UNet from half
noise. Rebuilt latents still belong to a picture, so that critics can compare the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from engine.progress import Progress
from trainer.base.base import digest_of
from trainer.pictures.dataset import PictureSet, to_model_range, turn
from trainer.pretraining.autoencoder import pixel_loss
from trainer.pretraining.critics import Critics
from trainer.pretraining.likeness import MAPS, compare, texture_maps
from trainer.pretraining.perceptual import CHANNELS, PerceptualDistance
from trainer.training.devices import Compute, draw_normal
from trainer.training.loop import Training, digest_parts
from trainer.training.settings import LoopSettings

__all__ = ["JITTER", "DecoderData", "train_decoder"]

JITTER = 0.1
"""Largest deviation of the noise on the latents, which have unit deviation. The deviation is uniform from 0 to this."""
ADVERSARIAL_WEIGHTS = (0.01, 0.01, 0.01, 0.02, 0.02, 0.02, 0.01, 0.01)
"""Weights of the critics of features, of features of the enlarged window, and of pixels.

They are fixed. Weights that follow the size of the gradients, as those of Esser et al. do, make the decoder follow the
critics most where they know least."""
STEEPNESS_WEIGHT, STEEPNESS_EVERY = 0.01, 4
CRITICS_RATE = 8.0
"""Factor of the critics' learning rate to the decoder's."""
ALONE_SHARE = 0.1
"""Share of the steps in which only the critics learn."""


@dataclass(frozen=True)
class DecoderData:
    """Pictures and the latents that the decoder learns from."""

    pictures: PictureSet
    latents: torch.Tensor
    """(K, N, C, h, w): latents of the N pictures in the first K symmetries of the square."""
    rebuilt: torch.Tensor
    """(N, C, h, w): latents of the pictures, rebuilt by a UNet."""
    rebuilt_by: str
    """Digest of that UNet."""


def train_decoder(
    vae: AutoencoderKL,
    material: DecoderData,
    distance: PerceptualDistance,
    settings: LoopSettings,
    folder: Path,
    compute: Compute,
    progress: Progress,
) -> dict[str, Any]:
    """Train only the weights of the decoder and return the record.

    The loss is the autoencoder's pixel loss + LPIPS + texture distances of features at two sizes and of patches + the
    critics' loss, weighted by ADVERSARIAL_WEIGHTS. A step uses two rebuilt latents for three of the encoder. Rebuilt
    latents count only for texture and critics. The classes come in equal shares.
    """
    data, latents = material.pictures, material.latents
    torch.manual_seed(settings.seed)
    distance, pictures = distance.to(compute.device), data.pictures.to(compute.device)
    rebuilt = material.rebuilt.to(compute.device)
    critics = Critics(CHANNELS[:MAPS] * 2).to(compute.device)
    model = nn.ModuleDict({"decoder": vae.decoder, "post_quant_conv": vae.post_quant_conv, "critics": critics})
    few = max(1, settings.batch_size * 2 // 3)
    weights = torch.tensor(ADVERSARIAL_WEIGHTS, device=compute.device)[:, None]

    def judged_by_frozen(inputs: list[torch.Tensor]) -> torch.Tensor:
        frozen = {name: value.detach() for name, value in critics.named_parameters()}
        found: torch.Tensor = functional_call(critics, frozen, (inputs,))
        return found

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        rows = data.draw_balanced(settings.batch_size, generator)
        which = int(torch.randint(len(latents), (1,), generator=generator))
        others = data.draw_balanced(few, generator)
        z = latents[which, rows].to(compute.device)
        level = JITTER * torch.rand(len(z), 1, 1, 1, generator=generator).to(compute.device)
        z = torch.cat([z + level * draw_normal(z.shape, generator, compute.device), rebuilt[others]])
        wanted = to_model_range(torch.cat([turn(pictures[rows], which), pictures[others]]))
        with compute.autocast():
            found = vae.decode(z / vae.config.scaling_factor).sample.float()
            loss = pixel_loss(found[: len(rows)], wanted[: len(rows)])
        compared = compare(distance, found, wanted, paired=len(rows), generator=generator, compute=compute)
        loss = loss + compared.loss
        real = critics.inputs(compared.wanted, compared.wanted_maps)
        aim = critics(real)
        if step >= ALONE_SHARE * settings.steps:
            fooled = judged_by_frozen(critics.inputs(compared.found, compared.found_maps))
            loss = loss + (weights * functional.softplus(aim.detach() - fooled)).mean(1).sum()
        fake = critics.inputs(compared.found.detach(), [x.detach() for x in compared.found_maps])
        loss = loss + functional.softplus(critics(fake) - aim).mean()
        if step % STEEPNESS_EVERY == 0:
            loss = loss + STEEPNESS_WEIGHT * STEEPNESS_EVERY * (critics.steepness(real) + critics.steepness(fake))
        return loss

    sample = to_model_range(pictures[data.draw_balanced(96, torch.Generator().manual_seed(settings.seed))])
    with torch.no_grad():
        critics.standardise(texture_maps(distance, sample))
    parts = (digest_of(vae.encoder), digest_of(vae.decoder))
    subject = digest_parts(data.pictures, material.rebuilt_by, *parts, compute.precision)
    rates = {"critics": CRITICS_RATE}
    training = Training("decoder", model, loss_of, settings, folder, subject=subject, rates=rates)
    return training.run(progress=progress)
