"""Compare decoders on latents that the same UNet drew, with pictures reserved for settings as the reference.

    python -m recipes.decoders RECORD.json RECIPE BASE...

RECIPE is the work folder of `make bundle`. The script uses its pictures in settings/, and the UNets, prompts and signal
leaks in merged/. Each BASE is a base in the diffusers layout and provides one decoder, with its refiner if it has one.
The script draws the latents of every class in settings/ once, with the settings of the recipe's bundle. FD-cyto
compares the pictures of each decoder with settings/<class>.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from benchmarks.arguments import existing_folder, new_file, script_parser
from engine.files import sha256_of, write_json
from engine.machine import processor_name
from engine.sampling.signal_leak import read_signal_leak
from engine.terminal import run_command_line
from evaluate.encoders.features import Cyto, features_of
from evaluate.images import open_folder
from evaluate.metrics.frechet import frechet_distance
from recipes.folds import decode, features, latents_of
from trainer.base.base import open_base
from trainer.base.refiner import REFINER_FILE, refiner_in
from trainer.hypernetwork.signal_leak import SIGNAL_LEAK_FILE
from trainer.training.devices import Compute, choose_attention

GUIDANCE_SCALE, GUIDANCE_INTERVAL = 2.0, (2.0, 6.0)


def drawn(merged: Path, n: int, compute: Compute) -> torch.Tensor:
    """Draw latents (n, C, h, w) of a merged class."""
    base = open_base(str(merged))
    choose_attention(base.unet, compute.device)
    channels, side = base.unet.config.in_channels, base.unet.config.sample_size
    leak = read_signal_leak(merged / SIGNAL_LEAK_FILE, (channels, side, side))
    prompt = json.loads((merged / "class.json").read_text())["prompt"]
    with compute.autocast():
        return latents_of(base, prompt, n, GUIDANCE_SCALE, GUIDANCE_INTERVAL, leak)


def main() -> None:
    """Draw, decode and compare every class; write the record."""
    parser = script_parser("recipes.decoders", __doc__)
    parser.add_argument("record", metavar="RECORD.json", type=new_file)
    parser.add_argument("recipe", metavar="RECIPE", type=existing_folder)
    parser.add_argument("bases", metavar="BASE", type=existing_folder, nargs="+")
    parser.add_argument("--n", type=int, default=96, help="pictures per class (default: 96)")
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32", help="default: f32")
    asked = parser.parse_args()
    compute, encoder = Compute(precision=asked.precision), Cyto()
    vaes = [AutoencoderKL.from_pretrained(base / "vae", local_files_only=True).eval() for base in asked.bases]
    refiners = [refiner_in(base) for base in asked.bases]
    found: list[dict[str, float]] = [{} for _ in vaes]
    for folder in sorted((asked.recipe / "settings").iterdir()):
        real = features_of(encoder, open_folder(folder))["features"]
        latents = drawn(asked.recipe / "merged" / folder.name, asked.n, compute)
        for vae, refiner, one in zip(vaes, refiners, found, strict=True):
            with compute.autocast():
                pictures = decode(vae, refiner, latents)
            one[folder.name] = frechet_distance(real, features(encoder, pictures))
        print(folder.name, *(f"{one[folder.name]:.2f}" for one in found), flush=True)
    decoders = [
        {
            "vae_sha256": sha256_of(base / "vae/diffusion_pytorch_model.safetensors"),
            "refiner_sha256": None if refiner is None else sha256_of(base / REFINER_FILE),
            "fd_cyto": one,
            "mean": float(np.mean([*one.values()])),
        }
        for base, refiner, one in zip(asked.bases, refiners, found, strict=True)
    ]
    facts = {"machine": processor_name(), "n": asked.n, "precision": asked.precision}
    write_json(asked.record, {**facts, "decoders": decoders})


if __name__ == "__main__":
    run_command_line(main)
