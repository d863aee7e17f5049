"""Models of random weights, their inputs and their ONNX graphs. Times do not depend on the values of weights."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from numpy.typing import NDArray

from engine.sampling.schedules import time_features
from exporter.graphs import export_decoder, export_unet, frequencies, to_half
from trainer.base.stable_diffusion import UNET, VAE

__all__ = ["PARTS", "Inputs", "Models", "export_graphs", "full_models", "inputs_of", "tiny_models"]

PARTS = ("step", "decode")
TIMESTEP = 500
TINY_UNET: dict[str, Any] = {
    "sample_size": 8,
    "block_out_channels": (32,),
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D",),
    "up_block_types": ("CrossAttnUpBlock2D",),
    "attention_head_dim": 2,
    "cross_attention_dim": 16,
}
TINY_VAE: dict[str, Any] = {"block_out_channels": (32,), "layers_per_block": 1, "norm_num_groups": 8, "sample_size": 8}


@dataclass(frozen=True)
class Models:
    """A UNet and an autoencoder in float32, the side of their latents, and the tokens of a prompt."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    side: int
    tokens: int

    @property
    def pixels(self) -> int:
        """The side of the pictures."""
        return int(self.side * 2 ** (len(self.vae.config.block_out_channels) - 1))


@dataclass(frozen=True)
class Inputs:
    """Inputs of both parts for B pictures: a guided step evaluates 2B rows.

    latents (2B, C, h, w), time_features (2B, F), context (2B, T, D), all float32. Decoding takes the first B latents.
    """

    batch_size: int
    latents: NDArray[np.float32]
    time_features: NDArray[np.float32]
    context: NDArray[np.float32]
    timestep: int = TIMESTEP

    @property
    def decoding(self) -> NDArray[np.float32]:
        """The decoder's latents (B, C, h, w)."""
        return self.latents[: self.batch_size]


def full_models() -> Models:
    """Return models with the shapes of Stable Diffusion 1.5."""
    torch.manual_seed(0)
    return Models(UNet2DConditionModel(**UNET).eval(), AutoencoderKL(**VAE).eval(), UNET["sample_size"], 77)


def tiny_models() -> Models:
    """Return models with the same kinds of layers that compute in milliseconds on a processor."""
    torch.manual_seed(0)
    return Models(UNet2DConditionModel(**TINY_UNET).eval(), AutoencoderKL(**TINY_VAE).eval(), 8, 8)


def inputs_of(models: Models, batch_size: int) -> Inputs:
    """Return standard normal inputs, the same for every system."""
    rng, config = np.random.default_rng(0), models.unet.config
    rows = 2 * batch_size
    features = time_features(np.array([float(TIMESTEP)]), np.array(frequencies(models.unet)))
    return Inputs(
        batch_size,
        rng.standard_normal((rows, config.in_channels, models.side, models.side), np.float32),
        np.repeat(features.astype(np.float32), rows, axis=0),
        rng.standard_normal((rows, models.tokens, config.cross_attention_dim), np.float32),
    )


def export_graphs(models: Models, folder: Path) -> dict[str, Path]:
    """Export both models in float16 as the exporter does. Return the path of the graph of each part."""
    context = (models.tokens, models.unet.config.cross_attention_dim)
    unet = to_half(copy.deepcopy(models.unet), in_place=True)
    graphs = {"step": export_unet(unet, context), "decode": export_decoder(models.vae, models.side)}
    paths = {}
    for part, graph in graphs.items():
        paths[part] = folder / f"{part}.onnx"
        onnx.save(graph, paths[part], save_as_external_data=True, location=f"{part}.bin")
    return paths
