"""The signal leak of a class: mean and coarse covariance of the latents of its pictures (see engine.sampling)."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from scipy.fft import dctn

from engine.errors import RequestError
from engine.sampling.signal_leak import read_signal_leak
from trainer.base.base import Base
from trainer.pictures.dataset import read_set
from trainer.training.devices import Compute
from trainer.training.encoding import encode_symmetries

__all__ = ["SIGNAL_LEAK_FILE", "measure_signal_leak", "read_tensors", "save_signal_leak"]

SIGNAL_LEAK_FILE = "signal_leak.safetensors"
"""File name in a merged folder."""
FREQUENCIES = 4
"""Side of the square of lowest DCT coefficients. Only these stay legible under the noise of the last level."""
DIRECTIONS = 64
LEAST_PICTURES = 2


def measure_signal_leak(base: Base, folder: Path) -> dict[str, torch.Tensor]:
    """Return the signal leak of prepared pictures, each in the eight symmetries of the square. Raises RequestError.

    All tensors are float16: mean (C, h, w); directions (K, C, f, f), the leading principal components of the lowest
    DCT-II coefficients; variances (K,).
    """
    pictures = read_set([folder])
    size = base.picture_side
    if len(pictures.pictures) < LEAST_PICTURES or len(pictures.class_names) != 1 or pictures.size != size:
        found = f"{len(pictures.pictures)} of {len(pictures.class_names)} classes, {pictures.size} pixels a side"
        raise RequestError(
            f"The pictures {folder}",
            found=found,
            expected=f"at least {LEAST_PICTURES} of one class, {size} pixels a side",
            fix="use the folder of one class that `python -m trainer prepare` wrote for this base",
        )
    # channels_last saves a third of the time on a CPU. The layout is restored because the base is written afterwards.
    base.vae.to(memory_format=torch.channels_last)
    latents = encode_symmetries(base.vae, pictures.pictures, Compute()).flatten(0, 1)
    base.vae.to(memory_format=torch.contiguous_format)
    mean = latents.mean(0)
    f = min(FREQUENCIES, *mean.shape[1:])
    coefficients = torch.from_numpy(dctn((latents - mean).double().numpy(), axes=(2, 3), norm="ortho"))[..., :f, :f]
    flat = coefficients.flatten(1)
    variances, directions = torch.linalg.eigh(flat.T @ flat / len(flat))
    chosen = variances.argsort(descending=True)[: min(DIRECTIONS, len(latents) - 1)]
    return {
        "mean": mean.half(),
        "directions": directions.T[chosen].reshape(-1, len(mean), f, f).half().contiguous(),
        "variances": variances[chosen].clamp(min=0).half(),
    }


def read_tensors(base: Base, path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of the signal leak in a merged folder, to be written again. Raises RequestError."""
    side = base.unet.config.sample_size
    read_signal_leak(path, (base.unet.config.in_channels, side, side))
    return load_file(path)


def save_signal_leak(tensors: dict[str, torch.Tensor], folder: Path) -> None:
    """Write the signal leak into a merged folder."""
    save_file(tensors, folder / SIGNAL_LEAK_FILE)
