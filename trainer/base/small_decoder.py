"""The small decoder: it draws what the VAE's decoder draws, with fewer operations.

It is the decoder of AutoencoderTiny (diffusers), known as TAESD (https://github.com/madebyollin/taesd), except that its
last layer works at half the size of the picture and gives 2 x 2 pixels at each place (Shi et al. 2016,
arXiv:1609.05158). Only a preset of a bundle may use it. Training and previews keep the VAE's decoder.

The exporter reads the same file.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import DecoderTiny
from torch import nn

from trainer.base.network_files import expect_sizes, read_network, write_network

__all__ = [
    "SmallDecoder",
    "SmallDecoderSettings",
    "expect_fitting",
    "read_small_decoder",
    "write_small_decoder",
]

FORMAT = "cytosynth small decoder 1"
SUBJECT = "The small decoder"
LARGEST, MOST_BLOCKS = 4096, 64


@dataclass(frozen=True)
class SmallDecoderSettings:
    """Sizes of a small decoder. The constructor raises ValueError for sizes that fit no network."""

    latent_channels: int
    factor: int
    """Pixels per latent pixel: 2 to the power of the number of levels."""
    blocks: tuple[int, ...]
    """Residual blocks of each level, the coarsest first."""
    width: int = 64
    """Channels of the inner convolutions."""

    def __post_init__(self) -> None:
        for name, least in (("latent_channels", 1), ("factor", 2), ("width", 1)):
            value = getattr(self, name)
            if not _is_whole(value, least, LARGEST):
                raise ValueError(f"{name} {value!r} instead of a whole number in {least}..{LARGEST}")
        levels = self.factor.bit_length() - 1
        if self.factor != 2**levels:
            raise ValueError(f"factor {self.factor} instead of a power of two")
        if len(self.blocks) != levels or not all(_is_whole(count, 0, MOST_BLOCKS) for count in self.blocks):
            raise ValueError(f"blocks {self.blocks!r} instead of {levels} whole numbers in 0..{MOST_BLOCKS}")

    @classmethod
    def of(cls, latent_channels: int, factor: int, width: int = 64) -> SmallDecoderSettings:
        """Return settings with one block at the finest level, where most pixels are, and three at each other level.

        Raises ValueError.
        """
        levels = factor.bit_length() - 1
        return cls(latent_channels, factor, (3,) * (levels - 1) + (1,), width)


class SmallDecoder(DecoderTiny):
    """Draws pictures of latents. Its tensors have the names of DecoderTiny's."""

    def __init__(self, settings: SmallDecoderSettings) -> None:
        super().__init__(
            in_channels=settings.latent_channels,
            out_channels=12,
            num_blocks=settings.blocks,
            block_out_channels=(settings.width,) * len(settings.blocks),
            upsampling_scaling_factor=2,
            act_fn="relu",
            upsample_fn="nearest",
        )
        self.settings = settings

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return pictures (B, 3, H, W) in [-1, 1], not clipped and without grain.

        x: latents (B, C, h, w) in the UNet's scale; H and W are factor times as large.
        """
        return nn.functional.pixel_shuffle(super().forward(x), 2)


def write_small_decoder(decoder: SmallDecoder, path: Path) -> None:
    """Write a small decoder with its settings."""
    write_network(decoder, asdict(decoder.settings), FORMAT, path)


def read_small_decoder(path: Path) -> SmallDecoder:
    """Return the small decoder in a file, frozen. Raises RequestError if the file is unreadable or does not fit its
    settings."""

    def build(settings: dict[str, Any], tensors: dict[str, torch.Tensor]) -> SmallDecoder:
        # Settings take memory only if the tensors of these settings are in the file.
        with torch.device("meta"):
            decoder = SmallDecoder(SmallDecoderSettings(**{**settings, "blocks": tuple(settings["blocks"])}))
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
