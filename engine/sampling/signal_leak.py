"""Signal leak: what the noisiest latents of a class still show of its pictures.

The last noise level of training leaves a trace of the picture: at Stable Diffusion's 14.6, a deviation of 1 in the
mean of 256 latents stands beside noise of 0.9. A UNet has learnt to read that trace, so pure noise tells it that the
picture is of the middle: of middling light, stain and size. Everaert et al. (2024), arXiv:2309.15842, therefore begin
at noise with a trace in it, of the pictures' own mean and covariance at low spatial frequencies. Here it takes no
random numbers of its own: along each direction the noise that is there is scaled to the deviation that it should have.
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
    """A Gaussian of a class's latents (C, h, w), of which `directions` are known."""

    mean: Latents
    """(C, h, w)."""
    directions: Latents
    """(K, C, h, w), orthonormal."""
    variances: NDArray[np.float32]
    """(K,), of the latents along the directions."""

    def into(self, noise: Latents, plan: SamplerPlan) -> Latents:
        """Standard normal noise (B, C, h, w) -> noise with the trace, in the same units: times the plan's initial scale
        s it has the mean, and along direction u the variance variances_u + sigma^2 instead of s^2."""
        sigma, scale = plan.rows[0].sigma, plan.initial_scale
        gains = np.sqrt(self.variances + sigma**2) / scale - 1
        along = np.tensordot(noise, self.directions, axes=([1, 2, 3], [1, 2, 3]))
        traced = noise + self.mean / scale + np.tensordot(along * gains, self.directions, axes=1)
        return np.asarray(traced, np.float32)


def read_signal_leak(path: Path, latent_shape: tuple[int, int, int]) -> SignalLeak:
    """A file's tensors are mean (C, h, w); directions (K, C, f, f), the lowest f x f coefficients of an orthonormal
    DCT-II; variances (K,). All are float16. Raises RequestError for anything else."""
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
            raise ValueError(f"{shapes}, or values that are none")
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
    """(n, n), rows the orthonormal DCT-II's cosines."""
    rows = np.sqrt(2 / n) * np.cos(np.pi / n * np.arange(n)[:, None] * (np.arange(n) + 0.5))
    rows[0] /= np.sqrt(2)
    return np.asarray(rows)
