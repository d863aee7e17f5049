"""Write a base of random weights, for measuring times and sizes, which do not depend on the weights' values.

python -m benchmarks.scripts.random_base FOLDER small|full       (full: Stable Diffusion 1.5's shapes, 4 GB)
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from benchmarks.arguments import script_parser
from trainer.base.base import Base, new_tokenizer
from trainer.base.presets import PRESETS
from trainer.base.stable_diffusion import CLIP_TEXT, SCHEDULER, UNET, VAE

SMALL_SIDE = 128


def full_size_base(captions: list[str]) -> Base:
    """Return a base of random weights with the shapes of Stable Diffusion 1.5."""
    return Base(
        AutoencoderKL(**VAE),
        UNet2DConditionModel(**UNET),
        CLIPTextModel(CLIPTextConfig(**CLIP_TEXT)),
        new_tokenizer(captions, 77),
        DDIMScheduler(**SCHEDULER),
    )


def main() -> None:
    """Write the base."""
    parser = script_parser("benchmarks.scripts.random_base", __doc__)
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("size", choices=("small", "full"))
    asked = parser.parse_args()
    torch.manual_seed(0)
    words = ["random"]
    base = full_size_base(words) if asked.size == "full" else Base.new(PRESETS["small"], words, SMALL_SIDE)
    base.save(asked.folder)


if __name__ == "__main__":
    main()
