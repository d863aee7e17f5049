"""Small checkpoints with the names and the shapes, in small, of Stable Diffusion 1."""

from __future__ import annotations

import torch
from safetensors.torch import save_file

UNET, TEXT, VAE = "model.diffusion_model.", "cond_stage_model.transformer.text_model.", "first_stage_model."
INPUT = f"{UNET}input_blocks.0.0.weight"
POSITIONS = f"{TEXT}embeddings.position_ids"


def state(seed, channels=4, dtype=torch.float32):
    """Return the tensors of a checkpoint, by their names."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        INPUT: (8, channels, 3, 3),
        f"{UNET}time_embed.0.weight": (8, 4),
        **{f"{UNET}input_blocks.{i}.0.weight": (4, 4) for i in range(1, 12)},
        f"{UNET}middle_block.0.weight": (4, 4),
        **{f"{UNET}output_blocks.{i}.0.weight": (4, 4) for i in range(12)},
        f"{UNET}out.2.bias": (4,),
        f"{TEXT}encoder.layers.0.mlp.fc1.weight": (6, 3),
        f"{VAE}encoder.mid.attn_1.q.weight": (5, 5, 1, 1),
        f"{VAE}decoder.conv_in.bias": (5,),
        "model_ema.diffusion_modelout2bias": (4,),
        "model_ema.decay": (),
        "alphas_cumprod": (10,),
    }
    tensors = {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes.items()}
    return {**tensors, POSITIONS: torch.arange(7)[None] + seed}


def write(path, tensors, metadata=None):
    """Write a checkpoint, and return its path."""
    save_file(tensors, path, metadata)
    return path
