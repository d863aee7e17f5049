"""What a base's autoencoder alone loses: signal to noise, and the distance of reconstructed cells from real ones.

    python -m benchmarks.scripts.autoencoder RECORD.json BASE CLASS_FOLDER...

BASE is what `python -m trainer pretrain` left; each CLASS_FOLDER holds prepared pictures of one class that it never
saw. The signal to noise ratio is that of each whole picture, and of the pixels that `morphology` calls nucleus. The
distance is FD-cyto of one half of the pictures, reconstructed, from the other half, beside that of the same halves as
they are (the floor); means over SPLITS random halvings.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from engine.files import sha256_of
from evaluate.encoders.features import Cyto
from evaluate.images import Pictures, open_folder
from evaluate.metrics.frechet import frechet_distance
from evaluate.studies.segmentation import segment
from exporter.parity import psnr_db
from trainer.pictures.dataset import to_model_range
from trainer.training.record import machine_and_versions

SPLITS, SEED, BATCH = 20, 0, 32


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, pictures: Pictures) -> Pictures:
    """(N, S, S, 3) uint8 -> the same, through the posterior's mean, truncated as the engine truncates."""
    found = []
    for chunk in torch.from_numpy(pictures).permute(0, 3, 1, 2).split(BATCH):
        decoded = vae.decode(vae.encode(to_model_range(chunk)).latent_dist.mean).sample
        found.append(((decoded / 2 + 0.5).clamp(0, 1) * 255).byte().permute(0, 2, 3, 1).numpy())
    return np.concatenate(found)


def main(record: Path, base: Path, folders: list[Path]) -> None:
    vae = AutoencoderKL.from_pretrained(base / "vae", local_files_only=True).eval()
    encoder, found = Cyto(), {}
    for folder in folders:
        real = open_folder(folder).read()
        fake = reconstruct(vae, real)
        features = {
            name: np.concatenate([encoder(pictures[i : i + BATCH])["features"] for i in range(0, len(real), BATCH)])
            for name, pictures in (("real", real), ("fake", fake))
        }
        errors = fake.astype(np.float64) - real
        nuclei = [segment(picture).nucleus for picture in real]
        rng, half = np.random.default_rng(SEED), len(real) // 2
        floors, distances = [], []
        for _ in range(SPLITS):
            order = rng.permutation(len(real))
            first, second = order[:half], order[half : 2 * half]
            floors.append(frechet_distance(features["real"][second], features["real"][first]))
            distances.append(frechet_distance(features["real"][second], features["fake"][first]))
        found[folder.name] = {
            "pictures": len(real),
            "psnr_db": float(np.mean([psnr_db(error) for error in errors])),
            "psnr_nucleus_db": float(
                np.mean([psnr_db(e[mask]) for e, mask in zip(errors, nuclei, strict=True) if mask.any()])
            ),
            "without_nucleus": sum(not mask.any() for mask in nuclei),
            "n": half,
            "fd_cyto_floor": float(np.mean(floors)),
            "fd_cyto_reconstructed": float(np.mean(distances)),
        }
        print(folder.name, found[folder.name], file=sys.stderr)
    keys = ("psnr_db", "psnr_nucleus_db", "fd_cyto_floor", "fd_cyto_reconstructed")
    means = {key: float(np.mean([one[key] for one in found.values()])) for key in keys}
    weights = sha256_of(base / "vae/diffusion_pytorch_model.safetensors")
    facts = {"classes": found, "means": means, "splits": SPLITS, "vae_sha256": weights, "encoder": encoder.sha256}
    record.write_text(json.dumps({**facts, **machine_and_versions()}, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [Path(path) for path in sys.argv[3:]])
