"""The refiner: a small network behind the VAE's decoder that draws grain from random noise.

A latent is smooth over several pixels, so a decoder without a random input can only draw lines where real stain has
grain. Karras et al. 2019, arXiv:1812.04948, section 3.2, make the same argument for noise inputs in each layer.

A folder with a refiner has the file REFINER_FILE. Its metadata hold the format and the settings as JSON; its tensors
have the names of the module's parameters. The exporter reads the same file.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import nn

from trainer.base.jpeg import Jpeg, JpegGrid
from trainer.base.network_files import expect_sizes, read_network, write_network

__all__ = [
    "REFINER_FILE",
    "Refiner",
    "RefinerSettings",
    "decode",
    "decode_latents",
    "expect_fitting",
    "read_refiner",
    "refiner_in",
    "write_refiner",
]

REFINER_FILE = "refiner.safetensors"
FORMAT = "cytosynth refiner 1"
SUBJECT = "The refiner"
POOLED_PLANES, WHOLE_PLANES = 4, 4
"""Noise planes that the context branch sees averaged to the size of the latents, and averaged over the whole picture.

Pictures differ as a whole in what their latents do not hold, such as focus and strength of grain. Independent pixels
cannot express this, because their average hardly varies."""


@dataclass(frozen=True)
class RefinerSettings:
    """Sizes of a refiner. The constructor raises ValueError for sizes that fit no network."""

    latent_channels: int
    factor: int
    """Pixels per latent pixel; even."""
    width: int = 64
    """Channels of the inner convolutions."""
    convolutions: int = 6
    noise_planes: int = 8
    """Noise planes beside the picture. Each inner convolution adds a further plane."""
    context_width: int = 0
    """Channels of the context branch. 0 leaves the branch out."""
    jpeg: JpegGrid | None = None
    """The blocks of JPEG that refined pictures get last, if any."""

    def __post_init__(self) -> None:
        least = {"latent_channels": 1, "factor": 2, "width": 1, "convolutions": 2, "noise_planes": 1}
        if self.context_width:
            least |= {"context_width": 1, "noise_planes": POOLED_PLANES + WHOLE_PLANES}
        for name in (field.name for field in fields(self) if field.name != "jpeg"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not least.get(name, 0) <= value <= 4096:
                raise ValueError(f"{name} {value!r} instead of a whole number in {least.get(name, 0)}..4096")
        if self.factor % 2:
            raise ValueError(f"factor {self.factor} instead of an even number")

    @classmethod
    def from_json(cls, settings: dict[str, Any]) -> RefinerSettings:
        """Return the settings in a file. Raises ValueError or TypeError."""
        jpeg = settings.get("jpeg")
        return cls(**{**settings, "jpeg": None if jpeg is None else JpegGrid(**jpeg)})

    @property
    def planes(self) -> int:
        """All noise planes of a picture."""
        return self.noise_planes + self.convolutions - 1


class Refiner(nn.Module):
    """Adds grain to pictures."""

    def __init__(self, settings: RefinerSettings) -> None:
        super().__init__()
        self.settings = settings
        inner, width, context = settings.convolutions - 1, settings.width, settings.context_width
        widths = [12 + settings.noise_planes + settings.latent_channels, *[width] * inner, 12]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        self.strengths = nn.ParameterList(nn.Parameter(torch.full((1, width, 1, 1), 0.1)) for _ in range(inner))
        if context:
            seen = settings.latent_channels + 3 * settings.factor**2 + POOLED_PLANES + WHOLE_PLANES
            widths = [seen, *[context] * 3]
            self.context = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
            self.context_out = nn.Conv2d(context, width, 1)
        self.jpeg = None if settings.jpeg is None else Jpeg(settings.jpeg)

    @classmethod
    def new(cls, settings: RefinerSettings) -> Refiner:
        """Return a refiner with random weights that changes pictures little."""
        refiner = cls(settings)
        for module in refiner.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        with torch.no_grad():
            refiner.get_parameter(f"convs.{settings.convolutions - 1}.weight").mul_(0.05)
            if settings.context_width:
                nn.init.zeros_(refiner.context_out.weight)
        return refiner

    def forward(self, pictures: torch.Tensor, latents: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Return pictures (B, 3, H, W) with grain, not clipped, before they get the blocks of JPEG.

        Args:
            pictures: (B, 3, H, W) in [-1, 1], as the VAE decodes them.
            latents: (B, C, h, w) in the UNet's scale; H and W are factor times as large.
            noise: (B, settings.planes, H / 2, W / 2), standard normal.
        """
        first = self.settings.noise_planes
        h = nn.functional.pixel_unshuffle(pictures, 2)
        size = h.shape[-2:]
        h = torch.cat([h, noise[:, :first], self._enlarged(latents, size)], 1)
        for i, strength in enumerate(self.strengths):
            h = self.convs[i](h) + strength * noise[:, first + i : first + i + 1]
            if i == 0 and self.settings.context_width:
                h = h + self._enlarged(self._context(pictures, latents, noise), size)
            h = nn.functional.relu(h)
        return pictures + nn.functional.pixel_shuffle(self.convs[-1](h), 2)

    def _context(self, pictures: torch.Tensor, latents: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Return (B, width, h, w): what a wider neighbourhood says of each place."""
        half = self.settings.factor // 2
        # The mean of n standard normal values has deviation 1 / sqrt(n).
        pooled = nn.functional.avg_pool2d(noise[:, :POOLED_PLANES], half) * half
        whole = noise[:, POOLED_PLANES : POOLED_PLANES + WHOLE_PLANES]
        whole = whole.mean((2, 3), keepdim=True) * (whole.shape[2] * whole.shape[3]) ** 0.5
        seen = nn.functional.pixel_unshuffle(pictures, self.settings.factor)
        h = torch.cat([latents, seen, pooled, whole.expand_as(pooled)], 1)
        for conv in self.context:
            h = nn.functional.relu(conv(h))
        return self.context_out(h)

    @staticmethod
    def _enlarged(values: torch.Tensor, size: torch.Size) -> torch.Tensor:
        return nn.functional.interpolate(values, size=size, mode="bilinear", align_corners=False)

    def noise_size(self, latents: torch.Tensor) -> torch.Size:
        """Return the size (B, planes, H / 2, W / 2) of the noise for latents (B, C, h, w)."""
        b, _, h, w = latents.shape
        half = self.settings.factor // 2
        return torch.Size((b, self.settings.planes, h * half, w * half))

    def draw_noise(self, latents: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return standard normal noise for latents (B, C, h, w), on their device. generator: a generator of the CPU."""
        return torch.randn(self.noise_size(latents), generator=generator).to(latents)


def decode(
    vae: AutoencoderKL, refiner: Refiner | None, latents: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Return pictures (B, 3, H, W) float32 in [-1, 1], not clipped, of latents (B, C, h, w) in the UNet's scale.

    They are differentiable by the latents. VAE and refiner may be on different devices. The refiner, if there is one,
    takes its noise from the generator, which is a generator of the CPU.
    """
    z = (latents / vae.config.scaling_factor).to(vae.device, vae.dtype)
    pictures: torch.Tensor = vae.decode(z).sample.float()
    if refiner is None:
        return pictures
    device = refiner.strengths[0].device
    pictures, latents = pictures.to(device), latents.float().to(device)
    refined: torch.Tensor = refiner(pictures, latents, refiner.draw_noise(latents, generator))
    return refined.float() if refiner.jpeg is None else refiner.jpeg(refined.float())


@torch.no_grad()
def decode_latents(
    vae: AutoencoderKL, refiner: Refiner | None, latents: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Return what `decode` returns, without gradients."""
    return decode(vae, refiner, latents, generator)


def write_refiner(refiner: Refiner, path: Path) -> None:
    """Write a refiner with its settings."""
    write_network(refiner, asdict(refiner.settings), FORMAT, path)


def refiner_in(folder: Path) -> Refiner | None:
    """Return the refiner of a base folder, or None if the folder has none. Raises RequestError."""
    path = folder / REFINER_FILE
    return read_refiner(path) if path.exists() else None


def read_refiner(path: Path) -> Refiner:
    """Return the refiner in a file. Raises RequestError if the file is unreadable or lacks a tensor."""

    def build(settings: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Refiner:
        refiner = Refiner(RefinerSettings.from_json(settings))
        # The shapes are part of the check.
        refiner.load_state_dict(tensors)
        if refiner.jpeg is not None and refiner.jpeg.steps.min() < 1:
            raise ValueError("steps of JPEG below 1")
        return refiner

    return read_network(path, FORMAT, build, subject=SUBJECT, writer="trainer.base.refiner.write_refiner")


def expect_fitting(refiner: Refiner, vae: AutoencoderKL, path: Path) -> None:
    """Raise RequestError unless a refiner belongs to a VAE of this size. path: file of the refiner, for the error."""
    expect_sizes(refiner.settings.latent_channels, refiner.settings.factor, vae, path, subject=SUBJECT)
