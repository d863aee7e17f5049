"""Noise schedules: pure functions in float64 from the betas of a model to sigmas, and from sigmas to timesteps.

The notation is the variance-exploding one of Karras et al. 2022 (arXiv:2206.00364): x = x0 + sigma * eps. A DDPM
latent is x / sqrt(sigma^2 + 1), with sigma^2 = (1 - abar) / abar.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "SCHEDULES",
    "Floats",
    "NoiseSchedule",
    "exponential_sigmas",
    "karras_sigmas",
    "leading_sigmas",
    "normal_sigmas",
    "sgm_uniform_sigmas",
    "time_features",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class NoiseSchedule:
    """The scaled-linear schedule: sqrt(beta) rises linearly over num_train_timesteps."""

    beta_start: float
    beta_end: float
    num_train_timesteps: int

    @property
    def sigmas(self) -> Floats:
        """The sigmas of the model, ascending, (num_train_timesteps,) float64."""
        root = np.linspace(self.beta_start**0.5, self.beta_end**0.5, self.num_train_timesteps, dtype=np.float64)
        abar = np.cumprod(1 - root**2)
        return np.asarray(np.sqrt((1 - abar) / abar))

    def timesteps(self, sigmas: Floats) -> Floats:
        """Return the fractional timesteps of sigmas > 0, by linear interpolation in log sigma as in k-diffusion."""
        return np.interp(np.log(sigmas), np.log(self.sigmas), np.arange(self.num_train_timesteps, dtype=np.float64))

    def sigmas_at(self, timesteps: Floats) -> Floats:
        """Return the sigmas of fractional timesteps, the inverse of `timesteps`."""
        own = np.arange(self.num_train_timesteps, dtype=np.float64)
        return np.asarray(np.exp(np.interp(timesteps, own, np.log(self.sigmas))))


def karras_sigmas(noise: NoiseSchedule, num_inference_steps: int, rho: float = 7.0) -> Floats:
    """Return equation 5 of Karras et al. 2022 over the range of the model: evenly spaced in sigma^(1 / rho)."""
    low, high = noise.sigmas[0] ** (1 / rho), noise.sigmas[-1] ** (1 / rho)
    return np.asarray((high + np.linspace(0, 1, num_inference_steps) * (low - high)) ** rho)


def normal_sigmas(noise: NoiseSchedule, num_inference_steps: int) -> Floats:
    """Return the grid of k-diffusion's get_sigmas: evenly spaced timesteps from the last to 0, both included."""
    return noise.sigmas_at(np.linspace(noise.num_train_timesteps - 1, 0, num_inference_steps))


def exponential_sigmas(noise: NoiseSchedule, num_inference_steps: int) -> Floats:
    """Return sigmas evenly spaced in log sigma over the range of the model."""
    return np.exp(np.linspace(np.log(noise.sigmas[-1]), np.log(noise.sigmas[0]), num_inference_steps))


def sgm_uniform_sigmas(noise: NoiseSchedule, num_inference_steps: int) -> Floats:
    """Return the grid of Stability's generative-models: evenly spaced timesteps from the last towards 0, without 0."""
    return noise.sigmas_at(np.linspace(noise.num_train_timesteps - 1, 0, num_inference_steps + 1)[:-1])


def leading_sigmas(noise: NoiseSchedule, num_inference_steps: int) -> Floats:
    """Return the grid of DDPM and DDIM in Stable Diffusion: timesteps i * floor(T / N) + 1.

    In diffusers this is timestep_spacing "leading" with steps_offset 1.
    """
    spacing = noise.num_train_timesteps // num_inference_steps
    timesteps = np.minimum(np.arange(num_inference_steps)[::-1] * spacing + 1, noise.num_train_timesteps - 1)
    return noise.sigmas[timesteps]


SCHEDULES: dict[str, Callable[[NoiseSchedule, int], Floats]] = {
    "karras": karras_sigmas,
    "normal": normal_sigmas,
    "exponential": exponential_sigmas,
    "sgm_uniform": sgm_uniform_sigmas,
    "leading": leading_sigmas,
}
"""Functions from the schedule of the model and the number of steps to sigmas (N,), descending and above 0, by name."""


def time_features(timesteps: Floats, frequencies: Floats) -> NDArray[np.float32]:
    """Return the sinusoidal time features of the UNet (Vaswani et al. 2017, section 3.5), cosines first.

    timesteps: (B,), may be fractional. frequencies: (F / 2,). Returns (B, F) float32. They are computed in float64,
    because the bf16 mode of a runtime would round a timestep of 961.73 to 960.
    """
    angles = timesteps[:, None] * frequencies[None, :]
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
