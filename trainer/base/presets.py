"""Sizes of new bases. This module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PRESETS", "BasePreset"]


@dataclass(frozen=True)
class BasePreset:
    """Widths of a new base. The side of a latent pixel is 2**(len(vae_channels) - 1) picture pixels."""

    vae_channels: tuple[int, ...]
    latent_channels: int
    unet_channels: tuple[int, ...]
    attention_heads: tuple[int, ...]
    """Heads per level. All levels attend to the prompt, so that a hypernetwork reaches the finest level, too."""
    norm_groups: int
    text_width: int
    text_layers: int
    prompt_tokens: int = 16

    @property
    def size_multiple(self) -> int:
        """The side of a picture must be a multiple of this number of pixels.

        A network with L levels halves the picture L - 1 times; this holds for the autoencoder and for the UNet.
        """
        return int(2 ** (len(self.vae_channels) - 1 + len(self.unet_channels) - 1))


PRESETS = {
    "small": BasePreset((24, 48, 96, 128), 16, (96, 128, 144), (2, 4, 4), 16, 64, 2),
    "tiny": BasePreset((8, 16, 32), 4, (16, 32), (2, 2), 8, 16, 1, 8),
}
