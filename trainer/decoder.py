"""The last stage of a base's training: its decoder learns texture against a discriminator, the latents stay.

A loss of pixels alone averages over what the latents do not say, and so blurs chromatin. The decoder is therefore
trained on, with LPIPS and with a patch discriminator (Isola et al. 2017, arXiv:1611.07004), as Esser et al. (2021),
arXiv:2012.09841, train an autoencoder whole. Latents that a denoiser draws are never exact, and a decoder that knows
none of them turns their errors into texture of its own. So the encoder's are disturbed a little, and the discriminator
sees pictures from latents that the UNet drew, too.
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
from torch.nn.utils.parametrizations import spectral_norm

from trainer.autoencoder import pixel_loss
from trainer.bases import digest_of
from trainer.dataset import to_model_range, turn
from trainer.devices import Compute, draw_normal
from trainer.loop import LoopSettings, digest_parts, run_loop
from trainer.perceptual import PerceptualDistance

__all__ = ["Discriminator", "train_decoder"]

JITTER = 0.1
"""Deviation of the noise on the latents, which have unit deviation: uniform between zero and this."""
LPIPS_WEIGHT = 2.0
ADVERSARIAL_SHARE = 0.5
LEAST_WINDOW = 32
"""Pixels that the networks which judge a picture need."""
ALONE_SHARE = 0.1
"""For this share of the steps the discriminator learns alone."""


class Discriminator(nn.Module):
    """(B, 3, S, S) in [-1, 1] -> how real each patch of 54 x 54 pixels looks, (B, 1, S / 8, S / 8)."""

    def __init__(self, widths: tuple[int, ...] = (32, 64, 128)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for width in widths:
            layers += [spectral_norm(nn.Conv2d(before, width, 4, stride=2, padding=1)), nn.LeakyReLU(0.2)]
            before = width
        layers += [spectral_norm(nn.Conv2d(before, before, 3, padding=1)), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, spectral_norm(nn.Conv2d(before, 1, 3, padding=1)))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Unbounded; above zero is real."""
        return self.layers(pictures)


def train_decoder(
    vae: AutoencoderKL,
    pictures: torch.Tensor,
    latents: torch.Tensor,
    drawn: torch.Tensor,
    drawn_by: str,
    distance: PerceptualDistance,
    settings: LoopSettings,
    folder: Path,
    compute: Compute,
    progress: Callable[..., None],
) -> dict[str, Any]:
    """Minimise the autoencoder's loss of pixels + 2 LPIPS + a hinge loss against the discriminator, by the decoder's
    weights alone.

    pictures: (N, 3, S, S) uint8; latents: (K, N, C, h, w), theirs in the first K symmetries of the square. drawn: (M,
    C, h, w), latents that a UNet drew, whose digest is `drawn_by`; half a batch of them joins each step, for the
    adversarial term alone. That term weighs half of what would make its gradient at the last layer as large as that of
    the others (Esser et al., equation 7).
    """
    torch.manual_seed(settings.seed)
    distance, on_device, drawn = distance.to(compute.device), pictures.to(compute.device), drawn.to(compute.device)
    discriminator = Discriminator().to(compute.device)
    model = nn.ModuleDict({"decoder": vae.decoder, "post_quant_conv": vae.post_quant_conv, "critic": discriminator})
    last = vae.decoder.conv_out.weight
    # The decoder sees whole pictures, for its normalisation; its judges half the side, which costs a quarter.
    window = max(LEAST_WINDOW, vae.config.sample_size // 2)

    def judged_by_frozen(pictures: torch.Tensor) -> torch.Tensor:
        frozen = {name: value.detach() for name, value in discriminator.named_parameters()}
        found: torch.Tensor = functional_call(discriminator, frozen, (pictures,))
        return found

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        rows = torch.randint(len(pictures), (settings.batch_size,), generator=generator)
        which = int(torch.randint(len(latents), (1,), generator=generator))
        wanted = turn(to_model_range(on_device[rows]), which)
        z = latents[which, rows].to(compute.device)
        level = JITTER * torch.rand(len(z), 1, 1, 1, generator=generator).to(compute.device)
        z = z + level * draw_normal(z.shape, generator, compute.device)
        z = torch.cat([z, drawn[torch.randint(len(drawn), ((settings.batch_size + 1) // 2,), generator=generator)]])
        top, left = torch.randint(vae.config.sample_size - window + 1, (2,), generator=generator).tolist()
        with compute.autocast():
            found = vae.decode(z / vae.config.scaling_factor).sample.float()
            loss = pixel_loss(found[: len(wanted)], wanted)
            found, wanted = (whole[..., top : top + window, left : left + window] for whole in (found, wanted))
            loss = loss + LPIPS_WEIGHT * distance(found[: len(wanted)], wanted).mean()
            if step >= ALONE_SHARE * settings.steps:
                fooled = -judged_by_frozen(found).float().mean()
                sizes = [torch.autograd.grad(term, last, retain_graph=True)[0].norm() for term in (loss, fooled)]
                loss = loss + ADVERSARIAL_SHARE * (sizes[0] / (sizes[1] + 1e-6)).clamp(max=1e3) * fooled
            real, fake = (discriminator(pictures).float() for pictures in (wanted, found.detach()))
        return loss + (functional.relu(1 - real).mean() + functional.relu(1 + fake).mean()) / 2

    subject = digest_parts(pictures, drawn_by, digest_of(vae.encoder), digest_of(vae.decoder), compute.precision)
    return run_loop("decoder", model, loss_of, settings, folder, subject=subject, progress=progress)
