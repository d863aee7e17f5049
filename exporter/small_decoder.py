"""The small decoder of a preset: it draws what the VAE's decoder draws, in a fraction of the operations.

The trainer writes the file (see the glossary in docs/reference). Its tensors are those of diffusers' DecoderTiny, the
decoder of TAESD, which makes the pixels of half the size in 12 channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.vae import DecoderTiny
from torch import nn

from engine.errors import RequestError
from exporter.network_files import read_network

__all__ = ["SmallDecoder", "SmallDecoderSizes", "read_small_decoder"]

FORMAT = "cytosynth small decoder 1"
MOST_WIDTH, MOST_STAGES, MOST_BLOCKS = 4096, 6, 64


@dataclass(frozen=True)
class SmallDecoderSizes:
    """The settings in the file."""

    latent_channels: int
    factor: int
    """Pixels per latent pixel."""
    width: int
    blocks: tuple[int, ...]
    """Residual blocks at each size, from the latents' to half of the picture's."""


class SmallDecoder(nn.Module):
    """Latents (B, C, h, w) in the UNet's scale -> pictures (B, 3, H, W) in [-1, 1], not clipped, without grain.

    It computes in the dtype of the weights.
    """

    def __init__(self, sizes: SmallDecoderSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.network = DecoderTiny(
            in_channels=sizes.latent_channels,
            out_channels=12,
            num_blocks=sizes.blocks,
            block_out_channels=(sizes.width,) * len(sizes.blocks),
            upsampling_scaling_factor=2,
            act_fn="relu",
            upsample_fn="nearest",
        )

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode."""
        dtype = next(self.network.parameters()).dtype
        return nn.functional.pixel_shuffle(self.network(latents.to(dtype)), 2)


def read_small_decoder(path: Path, latent_channels: int, factor: int) -> SmallDecoder:
    """Return the small decoder in a file, in float32.

    latent_channels, factor: channels of the latents and pixels per latent pixel of the bundle. Raises RequestError
    unless the decoder has them and the file has exactly the tensors of its settings.
    """

    def build(settings: dict[str, Any], tensors: dict[str, torch.Tensor]) -> SmallDecoder:
        with torch.device("meta"):  # sizes without their tensors take no memory
            decoder = SmallDecoder(_sizes(settings))
        decoder.network.load_state_dict(tensors, assign=True)
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
    numbers = {name: settings[name] for name in ("latent_channels", "factor", "width")}
    blocks = tuple(settings["blocks"])
    for name, value in numbers.items():
        if type(value) is not int or not 1 <= value <= MOST_WIDTH:
            raise ValueError(f"{name} {value!r}")
    whole = all(type(number) is int and 0 <= number <= MOST_BLOCKS for number in blocks)
    if not whole or not 1 <= len(blocks) <= MOST_STAGES:
        raise ValueError(f"blocks {blocks!r}")
    if numbers["factor"] != 2 ** len(blocks):
        raise ValueError(f"factor {numbers['factor']} with {len(blocks)} numbers of blocks")
    return SmallDecoderSizes(**numbers, blocks=blocks)
