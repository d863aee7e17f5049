"""The small decoder of a preset: it draws what the VAE's decoder draws, in a fraction of the operations.

The trainer writes the file (see the glossary in docs/reference). Its layers are those of diffusers' DecoderTiny, the
decoder of TAESD, with a width for each level, and it makes the pixels of half the size in 12 channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.vae import AutoencoderTinyBlock
from torch import nn

from engine.errors import RequestError
from exporter.network_files import read_network

__all__ = ["SmallDecoder", "SmallDecoderSizes", "read_small_decoder"]

FORMAT = "cytosynth small decoder 2"
MOST_WIDTH, MOST_STAGES, MOST_BLOCKS = 4096, 6, 64


@dataclass(frozen=True)
class SmallDecoderSizes:
    """The settings in the file."""

    latent_channels: int
    factor: int
    """Pixels per latent pixel."""
    blocks: tuple[int, ...]
    """Residual blocks at each size, from the latents' to half of the picture's."""
    widths: tuple[int, ...]
    """Channels at each size."""


class SmallDecoder(nn.Module):
    """Latents (B, C, h, w) in the UNet's scale -> pictures (B, 3, H, W) in [-1, 1], not clipped, without grain.

    It computes in the dtype of the weights.
    """

    def __init__(self, sizes: SmallDecoderSizes) -> None:
        super().__init__()
        self.sizes = sizes
        layers: list[nn.Module] = [nn.Conv2d(sizes.latent_channels, sizes.widths[0], 3, padding=1), nn.ReLU()]
        for width, following, blocks in zip(sizes.widths, (*sizes.widths[1:], None), sizes.blocks, strict=True):
            layers += [AutoencoderTinyBlock(width, width, "relu") for _ in range(blocks)]
            if following is not None:
                layers += [nn.Upsample(scale_factor=2), nn.Conv2d(width, following, 3, padding=1, bias=False)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(sizes.widths[-1], 12, 3, padding=1))

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode."""
        latents = latents.to(next(self.parameters()).dtype)
        return nn.functional.pixel_shuffle(2 * self.layers(3 * torch.tanh(latents / 3)) - 1, 2)


def read_small_decoder(path: Path, latent_channels: int, factor: int) -> SmallDecoder:
    """Return the small decoder in a file, in float32.

    latent_channels, factor: channels of the latents and pixels per latent pixel of the bundle. Raises RequestError
    unless the decoder has them and the file has exactly the tensors of its settings.
    """

    def build(settings: dict[str, Any], tensors: dict[str, torch.Tensor]) -> SmallDecoder:
        with torch.device("meta"):  # sizes without their tensors take no memory
            decoder = SmallDecoder(_sizes(settings))
        decoder.load_state_dict(tensors, assign=True)
        if wrong := sorted(name for name, tensor in tensors.items() if tensor.dtype != torch.float32):
            raise ValueError(f"{wrong[0]} is not float32")
        return decoder

    fix = "make the file with `python -m trainer shrink`"
    decoder = read_network(path, FORMAT, build, subject="The small decoder", fix=fix)
    for what, found, expected in (
        ("latent_channels", decoder.sizes.latent_channels, latent_channels),
        ("factor", decoder.sizes.factor, factor),
    ):
        if found != expected:
            raise RequestError(
                f"The small decoder {path}, {what}",
                found=str(found),
                expected=f"{expected}, as the bundle has",
                fix="train a small decoder for the base of the bundle with `python -m trainer shrink`",
            )
    return decoder


def _sizes(settings: dict[str, Any]) -> SmallDecoderSizes:
    """Return checked sizes. Raises ValueError, KeyError or TypeError."""
    numbers = {name: settings[name] for name in ("latent_channels", "factor")}
    for name, value in numbers.items():
        if type(value) is not int or not 1 <= value <= MOST_WIDTH:
            raise ValueError(f"{name} {value!r}")
    blocks, widths = (tuple(settings[name]) for name in ("blocks", "widths"))
    for name, values, least, most in (("blocks", blocks, 0, MOST_BLOCKS), ("widths", widths, 1, MOST_WIDTH)):
        if not all(type(value) is int and least <= value <= most for value in values):
            raise ValueError(f"{name} {values!r}")
        if not 1 <= len(values) <= MOST_STAGES or numbers["factor"] != 2 ** len(values):
            raise ValueError(f"factor {numbers['factor']} with {len(values)} {name}")
    return SmallDecoderSizes(**numbers, blocks=blocks, widths=widths)
