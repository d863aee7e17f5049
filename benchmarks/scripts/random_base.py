"""A base of random weights, for what their values do not change: times and sizes.

python -m benchmarks.scripts.random_base FOLDER small|full       (full: Stable Diffusion 1.5's shapes, 4 GB)
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from trainer.base.base import PRESETS, Base, new_tokenizer
from trainer.base.stable_diffusion import CLIP_TEXT, SCHEDULER, UNET, VAE

SMALL_SIDE = 128


def full_size_base(captions: list[str]) -> Base:
    """Stable Diffusion 1.5's parts."""
    return Base(
        AutoencoderKL(**VAE),
        UNet2DConditionModel(**UNET),
        CLIPTextModel(CLIPTextConfig(**CLIP_TEXT)),
        new_tokenizer(captions, 77),
        DDIMScheduler(**SCHEDULER),
    )


if __name__ == "__main__":
    torch.manual_seed(0)
    words = ["random"]
    base = full_size_base(words) if sys.argv[2] == "full" else Base.new(PRESETS["small"], words, SMALL_SIDE)
    base.save(Path(sys.argv[1]))
