"""The small decoder: it draws what the VAE's decoder draws, with fewer operations.

It is the decoder of AutoencoderTiny (diffusers), known as TAESD (https://github.com/madebyollin/taesd), with two
differences. Its last layer works at half the size of the picture and gives 2 x 2 pixels at each place (Shi et al. 2016,
arXiv:1609.05158). Its coarse levels have more channels, because they have few pixels and cost little.
Only a preset of a bundle may use it. Training and previews keep the VAE's decoder.

The exporter reads the same file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import AutoencoderTinyBlock
from torch import nn

from trainer.base.network_files import expect_sizes, read_network, write_network

__all__ = [
    "SmallDecoder",
    "SmallDecoderSettings",
    "expect_fitting",
    "read_small_decoder",
    "write_small_decoder",
]

FORMAT = "cytosynth small decoder 2"
SUBJECT = "The small decoder"
LARGEST, MOST_BLOCKS = 4096, 64
PIXEL_CHANNELS = 12
"""3 colours of 2 x 2 pixels."""
WIDTH_STEP = 8
"""Widths of coarse levels are multiples of it, because processors compute so many channels at once."""


@dataclass(frozen=True)
class SmallDecoderSettings:
    """Sizes of a small decoder. The constructor raises ValueError for sizes that fit no network."""

    latent_channels: int
    factor: int
    """Pixels per latent pixel: 2 to the power of the number of levels."""
    blocks: tuple[int, ...]
    """Residual blocks of each level, the coarsest first."""
    widths: tuple[int, ...]
    """Channels of each level's convolutions, the coarsest first."""

    def __post_init__(self) -> None:
        for name, least in (("latent_channels", 1), ("factor", 2)):
            value = getattr(self, name)
            if not _is_whole(value, least, LARGEST):
                raise ValueError(f"{name} {value!r} instead of a whole number in {least}..{LARGEST}")
        levels = self.factor.bit_length() - 1
        if self.factor != 2**levels:
            raise ValueError(f"factor {self.factor} instead of a power of two")
        for name, least, most in (("blocks", 0, MOST_BLOCKS), ("widths", 1, LARGEST)):
            values = getattr(self, name)
            if len(values) != levels or not all(_is_whole(value, least, most) for value in values):
                raise ValueError(f"{name} {values!r} instead of {levels} whole numbers in {least}..{most}")

    @classmethod
    def from_json(cls, settings: Mapping[str, Any]) -> SmallDecoderSettings:
        """Return the settings of a file or record. Raises KeyError, TypeError or ValueError for other values."""
        return cls(**{**settings, "blocks": tuple(settings["blocks"]), "widths": tuple(settings["widths"])})

    @classmethod
    def of(cls, latent_channels: int, factor: int, width: int) -> SmallDecoderSettings:
        """Return settings with one block at the finest level, where most pixels are, and three at each other level.

        width: channels of the finest level. Each coarser level has sqrt(2) times as many, to the nearest multiple of 8.
        Raises ValueError.
        """
        levels = factor.bit_length() - 1
        wider = (width * math.sqrt(2) ** level / WIDTH_STEP for level in range(levels - 1, 0, -1))
        widths = (*(max(width, WIDTH_STEP * round(share)) for share in wider), width)
        return cls(latent_channels, factor, (3,) * (levels - 1) + (1,), widths)


class SmallDecoder(nn.Module):
    """Draws pictures of latents. If all levels have one width, it has the tensors of DecoderTiny by their names."""

    def __init__(self, settings: SmallDecoderSettings) -> None:
        super().__init__()
        self.settings = settings
        widths = settings.widths
        layers: list[nn.Module] = [nn.Conv2d(settings.latent_channels, widths[0], 3, padding=1), nn.ReLU()]
        for width, following, blocks in zip(widths, (*widths[1:], None), settings.blocks, strict=True):
            layers += [AutoencoderTinyBlock(width, width, "relu") for _ in range(blocks)]
            if following is not None:
                layers += [nn.Upsample(scale_factor=2), nn.Conv2d(width, following, 3, padding=1, bias=False)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], PIXEL_CHANNELS, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return pictures (B, 3, H, W) in [-1, 1], not clipped and without grain.

        x: latents (B, C, h, w) in the UNet's scale; H and W are factor times as large. As in TAESD, latents are
        limited to (-3, 3) by 3 tanh(x / 3), and the layers draw in [0, 1].
        """
        return nn.functional.pixel_shuffle(2 * self.layers(3 * torch.tanh(x / 3)) - 1, 2)


def write_small_decoder(decoder: SmallDecoder, path: Path) -> None:
    """Write a small decoder with its settings."""
    write_network(decoder, asdict(decoder.settings), FORMAT, path)


def read_small_decoder(path: Path) -> SmallDecoder:
    """Return the small decoder in a file, frozen. Raises RequestError if the file is unreadable or does not fit its
    settings."""

    def build(settings: dict[str, Any], tensors: dict[str, torch.Tensor]) -> SmallDecoder:
        # Settings take memory only if the tensors of these settings are in the file.
        with torch.device("meta"):
            decoder = SmallDecoder(SmallDecoderSettings.from_json(settings))
        decoder.load_state_dict(tensors, assign=True)
        if other := sorted(name for name, tensor in tensors.items() if tensor.dtype != torch.float32):
            raise ValueError(f"the tensor {other[0]} in {tensors[other[0]].dtype} instead of float32")
        return decoder

    return read_network(path, FORMAT, build, subject=SUBJECT, writer="`python -m trainer shrink`")


def expect_fitting(decoder: SmallDecoder, vae: AutoencoderKL, path: Path) -> None:
    """Raise RequestError unless a small decoder fits a VAE of this size. path: file of the decoder, for the error."""
    expect_sizes(decoder.settings.latent_channels, decoder.settings.factor, vae, path, subject=SUBJECT)


def _is_whole(value: object, least: int, most: int) -> bool:
    """Return whether a value from a file is a whole number in least..most."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
