"""Choose the settings of a few-shot class by cross-validation on its own pictures.

    python -m recipes.folds RECORD.json PICTURES BASE WORK --class basophil --prompt ig --prompt monocyte

PICTURES holds the class's photographs and BASE is the output folder of `python -m trainer pretrain`. WORK keeps
prepared pictures and hypernetworks, and the script reuses trainings that it finds there.

For each fold and each initial prompt, the script fits a hypernetwork on the other folds. For every number of --steps
and every --multiplier it draws pictures with the signal leak of the other folds. KD-cyto compares them with the
left-out fold, because its estimate is unbiased even for samples as small as a fold. The learning rate is constant after
50 steps and the weights are averaged, so each checkpoint equals the result of a training of that length.
"""

from __future__ import annotations

import argparse
import math
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL

from benchmarks.arguments import decimals, existing_folder, new_file, numbers, script_parser
from engine.files import write_json
from engine.machine import processor_name
from engine.sampling.signal_leak import SignalLeak, read_signal_leak
from engine.terminal import run_command_line
from evaluate.encoders.features import Cyto, features_of
from evaluate.images import open_folder
from evaluate.metrics.kernel import kernel_distance
from trainer.base.base import Base, encode_prompts, open_base
from trainer.base.refiner import Refiner, decode_latents
from trainer.base.sampling import draw_latents
from trainer.hypernetwork.files import read_hypernetwork
from trainer.hypernetwork.network import Hypernetwork, attached
from trainer.hypernetwork.signal_leak import SIGNAL_LEAK_FILE, measure_signal_leak, save_signal_leak

FOLDS = 3
SEED = 30_000
AT_A_TIME = 24


def trainer(*words: str) -> None:
    """Run a command of the trainer."""
    subprocess.run([sys.executable, "-m", "trainer", *words], check=True, stdout=subprocess.DEVNULL)


def prepare(pictures: list[Path], folder: Path, class_name: str, n: int) -> Path:
    """Prepare pictures, augment them to n, and return the folder that has them."""
    prepared = folder / class_name
    if not (folder / "done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        source = folder / "source" / class_name
        source.mkdir(parents=True)
        for picture in pictures:
            shutil.copy2(picture, source)
        trainer("prepare", str(source), str(folder / "prepared"), "--size", "128", "--crop", "0.7", "--n", str(n))
        (folder / "prepared" / class_name).rename(prepared)
        (folder / "done").touch()
    return prepared


def fit(data: Path, base: Path, out: Path, class_name: str, prompt: str, steps: list[int], batch_size: int) -> None:
    """Fit a hypernetwork and keep its weights at every number of steps. Skip a training that is finished."""
    if (out / f"{class_name}.json").exists():
        return
    words = ["fit", str(data), "--class", class_name, "--base", str(base), "--out", str(out)]
    words += ["--prompt", prompt, "--steps", str(max(steps)), "--save-every", str(min(steps))]
    words += ["--batch-size", str(batch_size), "--learning-rate", "1e-4:50, 1e-3", "--ema-decay", "0.99"]
    words += ["--weight-decay", "0", "--clipping", "norm", "--clip-at", "1", "--symmetries", "--snr-gamma", "5"]
    trainer(*words, "--latent-sampling", "deterministic", "--overwrite")


def features(encoder: Cyto, pictures: np.ndarray) -> np.ndarray:
    """Return the features (N, D) of (N, H, W, 3) uint8 pictures."""
    parts = (pictures[start : start + AT_A_TIME] for start in range(0, len(pictures), AT_A_TIME))
    return np.concatenate([encoder(np.ascontiguousarray(part))["features"] for part in parts])


@torch.no_grad()
def latents_of(
    base: Base,
    prompt: str,
    n: int,
    guidance_scale: float,
    guidance_interval: tuple[float, float] = (0.0, math.inf),
    leak: SignalLeak | None = None,
) -> torch.Tensor:
    """Draw latents (n, C, h, w) of a prompt with the base."""
    cond, uncond = encode_prompts(base, [prompt, ""]).split(1)
    generator = torch.Generator().manual_seed(SEED)
    parts = [
        draw_latents(
            base,
            cond.expand(min(AT_A_TIME, n - start), -1, -1),
            uncond,
            generator=generator,
            guidance_scale=guidance_scale,
            guidance_interval=guidance_interval,
            leak=leak,
        )
        for start in range(0, n, AT_A_TIME)
    ]
    return torch.cat(parts)


@torch.no_grad()
def decode(vae: AutoencoderKL, refiner: Refiner | None, latents: torch.Tensor) -> np.ndarray:
    """Decode latents (N, C, h, w) to (N, H, W, 3) uint8 pictures. A refiner adds grain, always from the same noise."""
    generator = torch.Generator().manual_seed(SEED)
    parts = [decode_latents(vae, refiner, z, generator) for z in latents.split(AT_A_TIME)]
    return (255 * (torch.cat(parts) / 2 + 0.5).clamp(0, 1)).byte().permute(0, 2, 3, 1).numpy()


def draw(
    base: Base,
    chain: Hypernetwork | list[tuple[Hypernetwork, float]],
    prompt: str,
    n: int,
    guidance_scale: float,
    guidance_interval: tuple[float, float] = (0.0, math.inf),
    leak: SignalLeak | None = None,
) -> np.ndarray:
    """Draw (n, H, W, 3) uint8 pictures of a prompt with the base and a hypernetwork."""
    with attached(base.unet, chain):
        latents = latents_of(base, prompt, n, guidance_scale, guidance_interval, leak)
    return decode(base.vae, base.refiner, latents)


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = script_parser("recipes.folds", __doc__)
    parser.add_argument("record", metavar="RECORD.json", type=new_file)
    parser.add_argument("pictures", metavar="PICTURES", type=existing_folder)
    parser.add_argument("base", metavar="BASE", type=existing_folder)
    parser.add_argument("work", metavar="WORK", type=Path)
    parser.add_argument("--class", dest="class_name", required=True, help="name of the class")
    parser.add_argument("--prompt", action="append", required=True, help="initial prompt; may be repeated")
    parser.add_argument(
        "--steps", type=numbers, default=[400, 800, 1200], help="training steps (default: 400,800,1200)"
    )
    parser.add_argument(
        "--multiplier",
        type=decimals,
        default=[1.0],
        help="multipliers of the hypernetwork (default: 1)",
    )
    parser.add_argument("--batch-size", type=int, default=8, help="pictures per training step (default: 8)")
    parser.add_argument("--n", type=int, default=48, help="pictures to draw (default: 48)")
    parser.add_argument("--guidance-scale", type=float, default=3.0, help="guidance scale (default: 3)")
    parser.add_argument(
        "--guidance-interval",
        type=float,
        nargs=2,
        default=[0.0, 1e6],
        metavar=("LO", "HI"),
        help="guidance only between these sigmas (default: everywhere)",
    )
    return parser.parse_args()


def main() -> None:
    """Fit, draw and compare; write the record and print the settings, the best first."""
    asked = parse_arguments()
    pictures = sorted(asked.pictures.glob("*.jpg"))
    # Neighbours by name come from one smear, so they go into different folds.
    folds = [pictures[fold::FOLDS] for fold in range(FOLDS)]
    encoder, base = Cyto(), open_base(str(asked.base))
    found: list[dict[str, Any]] = []
    for prompt in asked.prompt:
        ways = [(steps, multiplier) for steps in asked.steps for multiplier in asked.multiplier]
        distances: dict[tuple[int, float], list[float]] = {way: [] for way in ways}
        for number, left_out in enumerate(folds):
            folder = asked.work / asked.class_name / str(number)
            others = [picture for picture in pictures if picture not in left_out]
            prepared = prepare(others, folder / "others", asked.class_name, 100)
            judges = prepare(left_out, folder / "left-out", asked.class_name, len(left_out))
            real = features_of(encoder, open_folder(judges))["features"]
            out = folder / f"from-{prompt}"
            fit(prepared, asked.base, out, asked.class_name, prompt, asked.steps, asked.batch_size)
            save_signal_leak(measure_signal_leak(base, prepared), out)
            channels, side = base.unet.config.in_channels, base.unet.config.sample_size
            leak = read_signal_leak(out / SIGNAL_LEAK_FILE, (channels, side, side))
            for steps, multiplier in ways:
                file = read_hypernetwork(out / "steps" / f"{asked.class_name}-{steps:06d}.safetensors")
                chain = [(file.hypernetwork, multiplier)]
                drawn = draw(base, chain, prompt, asked.n, asked.guidance_scale, tuple(asked.guidance_interval), leak)
                distance = kernel_distance(real, features(encoder, drawn))
                distances[steps, multiplier].append(distance)
                what = f"{asked.class_name} from {prompt}, fold {number}, {steps} steps, multiplier {multiplier:g}"
                print(f"{what}: {distance:.3f}", flush=True)
        found += [
            {
                "prompt": prompt,
                "steps": steps,
                "multiplier": multiplier,
                "kd_cyto": values,
                "mean": float(np.mean(values)),
            }
            for (steps, multiplier), values in distances.items()
        ]
    settings = ("class_name", "batch_size", "n", "guidance_scale", "guidance_interval")
    record = {
        "machine": processor_name(),
        "versions": {name: version(name) for name in ("torch", "diffusers", "openvino")},
        "pictures": len(pictures),
        "folds": [len(fold) for fold in folds],
        **{name: getattr(asked, name) for name in settings},
        "found": found,
    }
    write_json(asked.record, record)
    for one in sorted(found, key=lambda one: one["mean"]):
        print(f"{one['mean']:7.3f}  from {one['prompt']}, {one['steps']} steps, multiplier {one['multiplier']:g}")


if __name__ == "__main__":
    run_command_line(main)
