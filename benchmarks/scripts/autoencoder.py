"""Measure what a base's autoencoder loses: signal-to-noise ratio, and distance of reconstructed cells from real ones.

    python -m benchmarks.scripts.autoencoder RECORD.json PICTURES BASE CLASS_FOLDER...

BASE is the output folder of `python -m trainer pretrain`. Each CLASS_FOLDER holds prepared pictures of one class that
the base never saw. The script measures the signal-to-noise ratio of whole pictures, and of the pixels that `morphology`
calls nucleus. It splits the pictures at random into two halves, SPLITS times. FD-cyto and FD-imagenet compare one
reconstructed half with the other half; the floor is the same distance without reconstruction. If BASE has a refiner,
reconstructions pass through it, as in the engine. PICTURES is a new folder for the reconstructions, which
`evaluate morphology` can compare with the originals.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image

from benchmarks.arguments import existing_folder, new_file, script_parser
from engine.files import sha256_of
from engine.terminal import run_command_line
from evaluate.encoders.features import Cyto, Encoder, features_of
from evaluate.encoders.imagenet import Imagenet
from evaluate.images import PictureFolder, Pictures, open_folder
from evaluate.metrics.frechet import frechet_distance
from evaluate.studies.segmentation import segment
from exporter.parity import psnr_db
from trainer.base.refiner import REFINER_FILE, Refiner, decode_latents, refiner_in
from trainer.folders import expect_new_folder
from trainer.pictures.dataset import to_model_range
from trainer.training.record import machine_and_versions

SPLITS, SEED, BATCH = 20, 0, 32
ENCODERS: tuple[type[Cyto] | type[Imagenet], ...] = (Cyto, Imagenet)
AVERAGED = ["psnr_db", "psnr_nucleus_db"]
AVERAGED += [f"fd_{encoder.name}_{of}" for encoder in ENCODERS for of in ("floor", "reconstructed")]


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, refiner: Refiner | None, pictures: Pictures) -> Pictures:
    """Encode and decode (N, S, S, 3) uint8 pictures through the posterior's mean; truncate to uint8 as the engine
    does. A refiner adds grain."""
    found, generator = [], torch.Generator().manual_seed(SEED)
    for chunk in torch.from_numpy(pictures).permute(0, 3, 1, 2).split(BATCH):
        latents = vae.encode(to_model_range(chunk)).latent_dist.mean * vae.config.scaling_factor
        decoded = decode_latents(vae, refiner, latents, generator)
        found.append(((decoded / 2 + 0.5).clamp(0, 1) * 255).byte().permute(0, 2, 3, 1).numpy())
    return np.concatenate(found)


def write_pictures(folder: Path, real: PictureFolder, fake: Pictures) -> None:
    """Write reconstructions as PNG files with the names of their originals."""
    folder.mkdir(parents=True)
    for original, picture in zip(real.files, fake, strict=True):
        Image.fromarray(picture).save(folder / f"{original.stem}.png")


def distances_of(encoder: Encoder, real: PictureFolder, fake: PictureFolder) -> dict[str, float]:
    """Return the mean distance of halves of reconstructed pictures from real ones, and of real ones: the floor."""
    real_features, fake_features = (features_of(encoder, folder)["features"] for folder in (real, fake))
    rng, half = np.random.default_rng(SEED), len(real) // 2
    floors, distances = [], []
    for _ in range(SPLITS):
        order = rng.permutation(len(real))
        first, second = order[:half], order[half : 2 * half]
        floors.append(frechet_distance(real_features[second], real_features[first]))
        distances.append(frechet_distance(real_features[second], fake_features[first]))
    name = f"fd_{encoder.name}"
    return {f"{name}_floor": float(np.mean(floors)), f"{name}_reconstructed": float(np.mean(distances))}


def measure_class(
    vae: AutoencoderKL, refiner: Refiner | None, encoders: Sequence[Encoder], folder: Path, out: Path
) -> dict[str, float]:
    """Return the figures of one class folder, and write its reconstructions into the new folder `out`."""
    originals = open_folder(folder)
    real = originals.read()
    fake = reconstruct(vae, refiner, real)
    write_pictures(out, originals, fake)
    errors = fake.astype(np.float64) - real
    nuclei = [segment(picture).nucleus for picture in real]
    distances = [distances_of(encoder, originals, open_folder(out)) for encoder in encoders]
    return {
        "pictures": len(real),
        "psnr_db": float(np.mean([psnr_db(error) for error in errors])),
        "psnr_nucleus_db": float(
            np.mean([psnr_db(error[mask]) for error, mask in zip(errors, nuclei, strict=True) if mask.any()])
        ),
        "without_nucleus": sum(not mask.any() for mask in nuclei),
        "n": len(real) // 2,
        **{name: value for one in distances for name, value in one.items()},
    }


def main() -> None:
    """Measure every class folder and write the record."""
    parser = script_parser("benchmarks.scripts.autoencoder", __doc__)
    parser.add_argument("record", metavar="RECORD.json", type=new_file)
    parser.add_argument("pictures", metavar="PICTURES", type=Path, help="new folder")
    parser.add_argument("base", metavar="BASE", type=existing_folder)
    parser.add_argument("folders", metavar="CLASS_FOLDER", type=existing_folder, nargs="+")
    asked = parser.parse_args()
    expect_new_folder(asked.pictures)
    vae = AutoencoderKL.from_pretrained(asked.base / "vae", local_files_only=True).eval()
    refiner, encoders, found = refiner_in(asked.base), [encoder() for encoder in ENCODERS], {}
    for folder in asked.folders:
        found[folder.name] = measure_class(vae, refiner, encoders, folder, asked.pictures / folder.name)
        print(folder.name, found[folder.name], file=sys.stderr)
    means = {key: float(np.mean([one[key] for one in found.values()])) for key in AVERAGED}
    weights = sha256_of(asked.base / "vae/diffusion_pytorch_model.safetensors")
    grain = None if refiner is None else sha256_of(asked.base / REFINER_FILE)
    facts = {
        "classes": found,
        "means": means,
        "splits": SPLITS,
        "vae_sha256": weights,
        "refiner_sha256": grain,
        "encoders": {encoder.name: encoder.sha256 for encoder in encoders},
    }
    asked.record.write_text(json.dumps({**facts, **machine_and_versions()}, indent=1) + "\n")


if __name__ == "__main__":
    run_command_line(main)
