"""Preview pictures of the current state of a training, drawn with DPM++ 2M in torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from engine.files import replace_file
from trainer.base.base import Base
from trainer.base.refiner import decode_latents
from trainer.base.sampling import draw_latents

__all__ = ["draw_preview"]


@torch.no_grad()
def draw_preview(
    base: Base,
    context: torch.Tensor,
    path: Path,
    *,
    seed: int = 0,
    num_inference_steps: int = 20,
    guidance_scale: float = 7.0,
    pictures: int = 4,
) -> None:
    """Write a row of pictures. context: (2, T, D), the embeddings of the prompt and of the empty prompt.

    The noise has its own generator, so that the random state of the training does not change.
    """
    generator = torch.Generator().manual_seed(seed)
    x = draw_latents(
        base,
        context[:1].expand(pictures, -1, -1),
        context[1:],
        generator=generator,
        guidance_scale=guidance_scale,
        num_inference_steps=num_inference_steps,
    )
    images = (decode_latents(base.vae, base.refiner, x, generator) / 2 + 0.5).clamp(0, 1) * 255
    row_of = np.concatenate(list(images.permute(0, 2, 3, 1).to(torch.uint8).cpu().numpy()), axis=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as part:
        Image.fromarray(row_of).save(part, format="PNG")
