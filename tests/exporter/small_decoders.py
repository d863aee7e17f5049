"""Small decoders of random weights, and their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.vae import DecoderTiny
from safetensors.torch import save_file
from torch import nn

__all__ = ["random_decoder", "write_small_decoder"]

SETTINGS = {"latent_channels": 4, "factor": 4, "blocks": [1, 0], "widths": [8, 8]}
"""Those of a small decoder for the tiny base."""


def random_decoder(seed: int = 0, **settings: Any) -> DecoderTiny:
    """A decoder that draws visible pictures, whose pixels are seldom clipped."""
    sizes = {**SETTINGS, **settings}
    torch.manual_seed(seed)
    decoder = DecoderTiny(
        sizes["latent_channels"], 12, tuple(sizes["blocks"]), tuple(sizes["widths"]), 2, "relu", "nearest"
    )
    last = decoder.layers[-1]
    nn.init.normal_(last.weight, std=0.1)
    nn.init.constant_(last.bias, 0.5)
    return decoder.eval().requires_grad_(False)


def write_small_decoder(path: Path, decoder: DecoderTiny | None = None, **metadata: Any) -> Path:
    """Write the file of a small decoder for the tiny base, or one whose metadata differ."""
    stated = {"format": "cytosynth small decoder 2", "settings": json.dumps(SETTINGS), **metadata}
    save_file((decoder or random_decoder()).state_dict(), path, stated)
    return path
