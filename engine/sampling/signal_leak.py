"""Signal leak: the trace of a class's pictures that remains in its noisiest latents.

The highest noise level of training does not hide the picture completely. At Stable Diffusion's sigma of 14.6, the mean
of 256 latents has noise of 0.9, and pictures differ in that mean by about 1. A UNet learns to read this trace. Pure
noise has the trace of an average picture, so the pictures get average brightness, stain and size. Everaert et al.
(2024), arXiv:2309.15842, therefore begin at noise that carries the mean and covariance of the pictures at low spatial
frequencies. This module needs no additional random numbers: along each direction it scales the existing noise to the
deviation of the class.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from engine.errors import RequestError
from engine.sampling.samplers import SamplerPlan

__all__ = ["SignalLeak", "read_signal_leak"]

Latents = NDArray[np.float32]


@dataclass(frozen=True)
class SignalLeak:
    """A Gaussian model of the latents (C, h, w) of a class, with known variances along some directions."""

    mean: Latents
    """Mean (C, h, w) of the latents."""
    directions: Latents
    """Orthonormal directions (K, C, h, w)."""
    variances: NDArray[np.float32]
    """Variances (K,) of the latents along the directions."""

    def into(self, noise: Latents, plan: SamplerPlan) -> Latents:
        """Return standard normal noise (B, C, h, w) with the trace of the class added.

        Multiplied by the plan's initial scale s, the result has the mean of the class, and along direction u the
        variance variances_u + sigma^2 instead of s^2.
        """
        sigma, scale = plan.rows[0].sigma, plan.initial_scale
        gains = np.sqrt(self.variances + sigma**2) / scale - 1
        along = np.tensordot(noise, self.directions, axes=([1, 2, 3], [1, 2, 3]))
        traced = noise + self.mean / scale + np.tensordot(along * gains, self.directions, axes=1)
        return np.asarray(traced, np.float32)


def read_signal_leak(path: Path, latent_shape: tuple[int, int, int]) -> SignalLeak:
    """Return the signal leak in a file.

    The tensors of the file are mean (C, h, w), variances (K,) and directions (K, C, f, f), which are the lowest f x f
    coefficients of an orthonormal DCT-II. All are float16. Raises RequestError for anything else.
    """
    channels, height, width = latent_shape
    try:
        tensors = load_file(path)
        mean, directions, variances = (tensors[key] for key in ("mean", "directions", "variances"))
        f = directions.shape[-1]
        if not (
            mean.shape == latent_shape
            and directions.shape == (len(variances), channels, f, f)
            and variances.ndim == 1
            and 1 <= f <= min(height, width)
            and all(values.dtype == np.float16 and np.isfinite(values).all() for values in tensors.values())
            and (variances >= 0).all()
        ):
            shapes = ", ".join(f"{key} {values.dtype} {values.shape}" for key, values in sorted(tensors.items()))
            raise ValueError(f"{shapes}, or values that are not finite")
    except (OSError, ValueError, KeyError, IndexError, TypeError, SafetensorError) as error:
        raise RequestError(
            f"The signal leak {path}",
            found=f"unreadable ({error})",
            expected=f"finite float16 mean {latent_shape}, directions (K, {channels}, f, f) and variances (K,)",
            fix="export the class again",
        ) from error
    full = _dct(height)[:f].T @ directions.astype(np.float64) @ _dct(width)[:f]
    return SignalLeak(mean.astype(np.float32), full.astype(np.float32), variances.astype(np.float32))


def _dct(n: int) -> NDArray[np.float64]:
    """Return the matrix (n, n) of an orthonormal DCT-II, one cosine per row."""
    rows = np.sqrt(2 / n) * np.cos(np.pi / n * np.arange(n)[:, None] * (np.arange(n) + 0.5))
    rows[0] /= np.sqrt(2)
    return np.asarray(rows)
