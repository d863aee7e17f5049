"""Which decoder suits what the UNet draws: one UNet's latents through several decoders, on pictures kept back.

    python -m recipes.decoders RECORD.json RECIPE BASE...

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

from engine.files import sha256_of, write_json
from engine.machine import processor_name
from engine.sampling.signal_leak import read_signal_leak
from evaluate.encoders.features import Cyto, features_of
from evaluate.images import open_folder
from evaluate.metrics.frechet import frechet_distance
from recipes.folds import decode, features, latents_of
from trainer.base.base import open_base
from trainer.hypernetwork.signal_leak import SIGNAL_LEAK_FILE
from trainer.training.devices import Compute, choose_attention

GUIDANCE_SCALE, GUIDANCE_INTERVAL = 2.0, (2.0, 6.0)


def drawn(merged: Path, n: int, compute: Compute) -> torch.Tensor:
    """Latents (n, C, h, w) of a merged class."""
    base = open_base(str(merged))
    choose_attention(base.unet, compute.device)
    channels, side = base.unet.config.in_channels, base.unet.config.sample_size
    leak = read_signal_leak(merged / SIGNAL_LEAK_FILE, (channels, side, side))
    prompt = json.loads((merged / "class.json").read_text())["prompt"]
    with compute.autocast():
        return latents_of(base, prompt, n, GUIDANCE_SCALE, GUIDANCE_INTERVAL, leak)


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
            with compute.autocast():
                pictures = decode(vae, latents)
            one[folder.name] = frechet_distance(real, features(encoder, pictures))
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
