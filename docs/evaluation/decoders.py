"""Which decoder suits what the UNet draws: one UNet's latents through several decoders, on pictures kept back.

    python docs/evaluation/decoders.py RECORD.json RECIPE BASE...

RECIPE is what `make bundle` left behind: settings/ and merged/, of which UNet, prompts and signal leaks are taken. Each
BASE, in the diffusers layout, brings its decoder. Every class of settings/ is drawn once, as the recipe's bundle draws
it; FD-cyto is between what each decoder makes of it and settings/<class>.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from folds import AT_A_TIME, SEED, features

from engine.bench import processor_name
from engine.files import sha256_of, write_json
from engine.signal_leak import read_signal_leak
from evaluate.features import Cyto, features_of
from evaluate.frechet import frechet_distance
from evaluate.images import Pictures, open_folder
from trainer.bases import encode_prompts, open_base
from trainer.devices import Compute, choose_attention
from trainer.sampling import draw_latents
from trainer.signal_leak import SIGNAL_LEAK_FILE

GUIDANCE_SCALE, GUIDANCE_INTERVAL = 2.0, (2.0, 6.0)


@torch.no_grad()
def drawn(merged: Path, n: int, compute: Compute) -> torch.Tensor:
    """Latents (n, C, h, w) of a merged class."""
    base = open_base(str(merged))
    choose_attention(base.unet, compute.device)
    channels, side = base.unet.config.in_channels, base.unet.config.sample_size
    leak = read_signal_leak(merged / SIGNAL_LEAK_FILE, (channels, side, side))
    generator = torch.Generator().manual_seed(SEED)
    prompt = json.loads((merged / "class.json").read_text())["prompt"]
    with compute.autocast():
        prompts, empty = encode_prompts(base, [prompt, ""]).split(1)
        parts = [
            draw_latents(
                base,
                prompts.expand(min(AT_A_TIME, n - start), -1, -1),
                empty,
                generator=generator,
                guidance_scale=GUIDANCE_SCALE,
                guidance_interval=GUIDANCE_INTERVAL,
                leak=leak,
            )
            for start in range(0, n, AT_A_TIME)
        ]
    return torch.cat(parts)


@torch.no_grad()
def decode(vae: AutoencoderKL, latents: torch.Tensor, compute: Compute) -> Pictures:
    """(N, C, h, w) -> (N, H, W, 3) uint8."""
    with compute.autocast():
        parts = [vae.decode(z / vae.config.scaling_factor).sample.float() for z in latents.split(AT_A_TIME)]
    images: Pictures = (255 * (torch.cat(parts) / 2 + 0.5).clamp(0, 1)).byte().permute(0, 2, 3, 1).numpy()
    return images


def main() -> None:
    """Draw, decode, compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("record", type=Path)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("bases", type=Path, nargs="+")
    parser.add_argument("--n", type=int, default=96)
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    asked = parser.parse_args()
    compute, encoder = Compute(precision=asked.precision), Cyto()
    vaes = [AutoencoderKL.from_pretrained(base / "vae", local_files_only=True).eval() for base in asked.bases]
    found: list[dict[str, float]] = [{} for _ in vaes]
    for folder in sorted((asked.recipe / "settings").iterdir()):
        real = features_of(encoder, open_folder(folder))["features"]
        latents = drawn(asked.recipe / "merged" / folder.name, asked.n, compute)
        for vae, one in zip(vaes, found, strict=True):
            one[folder.name] = frechet_distance(real, features(encoder, decode(vae, latents, compute)))
        print(folder.name, *(f"{one[folder.name]:.2f}" for one in found), flush=True)
    decoders = [
        {
            "vae_sha256": sha256_of(base / "vae/diffusion_pytorch_model.safetensors"),
            "fd_cyto": one,
            "mean": float(np.mean([*one.values()])),
        }
        for base, one in zip(asked.bases, found, strict=True)
    ]
    facts = {"machine": processor_name(), "n": asked.n, "precision": asked.precision}
    write_json(asked.record, {**facts, "decoders": decoders})


if __name__ == "__main__":
    main()
