"""The last stage of a base's training: its decoder learns texture against critics, the latents stay.

A loss of pixels alone averages over what the latents do not say, and so blurs chromatin. The decoder is therefore
trained on, as Esser et al. (2021), arXiv:2012.09841, train an autoencoder whole: with LPIPS, with a distance of
textures, and against critics that tell its pictures from real ones. Latents that a denoiser draws are never exact, and
a decoder that knows none of them turns their errors into texture of its own. So the encoder's are disturbed a little,
and others are rebuilt by the UNet from half noise: those belong to a picture still, and critics can compare the two.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from trainer.base.base import digest_of
from trainer.pictures.dataset import PictureSet, to_model_range, turn
from trainer.pretraining.autoencoder import pixel_loss
from trainer.pretraining.critics import Critics
from trainer.pretraining.likeness import MAPS, compare, texture_maps
from trainer.pretraining.perceptual import CHANNELS, PerceptualDistance
from trainer.training.devices import Compute, draw_normal
from trainer.training.loop import LoopSettings, digest_parts, run_loop

__all__ = ["JITTER", "train_decoder"]

JITTER = 0.1
"""Deviation of the noise on the latents, which have unit deviation: uniform between zero and this."""
ADVERSARIAL_WEIGHTS = (0.01, 0.01, 0.01, 0.02, 0.02, 0.02, 0.01, 0.01)
"""Of the critics of features, of features of the enlarged window, and of pixels. Fixed: weights that follow the
gradients' sizes, as Esser et al. have them, make the decoder follow critics most where they know least."""
STEEPNESS_WEIGHT, STEEPNESS_EVERY = 0.01, 4
CRITICS_RATE = 8.0
"""How much faster than the decoder they learn."""
ALONE_SHARE = 0.1
"""For this share of the steps the critics learn alone."""


def train_decoder(
    vae: AutoencoderKL,
    data: PictureSet,
    latents: torch.Tensor,
    rebuilt: torch.Tensor,
    rebuilt_by: str,
    distance: PerceptualDistance,
    settings: LoopSettings,
    folder: Path,
    compute: Compute,
    progress: Callable[..., None],
) -> dict[str, Any]:
    """Minimise the autoencoder's loss of pixels + LPIPS + distances of textures, of features at two sizes and of
    patches, + what the critics see by ADVERSARIAL_WEIGHTS, by the decoder's weights alone.

    latents: (K, N, C, h, w), those of the N pictures in the first K symmetries of the square. rebuilt: (N, C, h, w),
    of the pictures as they are, rebuilt by a UNet whose digest is `rebuilt_by`; two for three of the encoder's join
    each step. They count for texture and critics alone. Classes come in equal shares.
    """
    torch.manual_seed(settings.seed)
    distance, pictures = distance.to(compute.device), data.pictures.to(compute.device)
    rebuilt = rebuilt.to(compute.device)
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
    subject = digest_parts(data.pictures, rebuilt_by, digest_of(vae.encoder), digest_of(vae.decoder), compute.precision)
    return run_loop(
        "decoder",
        model,
        loss_of,
        settings,
        folder,
        subject=subject,
        rates={"critics": CRITICS_RATE},
        progress=progress,
    )
