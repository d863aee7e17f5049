"""Noise schedules: pure functions in float64 from a model's betas to the sigmas of a run and back to timesteps.

The variance-exploding notation of Karras et al. 2022 (arXiv:2206.00364): x = x0 + sigma * eps, where a DDPM latent
is x / sqrt(sigma^2 + 1) and sigma^2 = (1 - abar) / abar.
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
        """The model's own sigmas, ascending, (num_train_timesteps,) float64."""
        root = np.linspace(self.beta_start**0.5, self.beta_end**0.5, self.num_train_timesteps, dtype=np.float64)
        abar = np.cumprod(1 - root**2)
        return np.asarray(np.sqrt((1 - abar) / abar))

    def timesteps(self, sigmas: Floats) -> Floats:
        """Fractional timesteps of sigmas > 0, by linear interpolation in log sigma as k-diffusion does it."""
        return np.interp(np.log(sigmas), np.log(self.sigmas), np.arange(self.num_train_timesteps, dtype=np.float64))

    def sigmas_at(self, timesteps: Floats) -> Floats:
        """The inverse of `timesteps`."""
        own = np.arange(self.num_train_timesteps, dtype=np.float64)
        return np.asarray(np.exp(np.interp(timesteps, own, np.log(self.sigmas))))


def karras_sigmas(noise: NoiseSchedule, num_inference_steps: int, rho: float = 7.0) -> Floats:
    """Equation 5 of Karras et al. 2022 over the model's range: evenly spaced in sigma^(1 / rho)."""
    low, high = noise.sigmas[0] ** (1 / rho), noise.sigmas[-1] ** (1 / rho)
    return np.asarray((high + np.linspace(0, 1, num_inference_steps) * (low - high)) ** rho)


def normal_sigmas(noise: NoiseSchedule, num_inference_steps: int) -> Floats:
    """The model's own grid (k-diffusion's get_sigmas): evenly spaced timesteps from the last to 0, both included."""
    return noise.sigmas_at(np.linspace(noise.num_train_timesteps - 1, 0, num_inference_steps))


def exponential_sigmas(noise: NoiseSchedule, num_inference_steps: int) -> Floats:
    """Evenly spaced in log sigma over the model's range."""
    return np.exp(np.linspace(np.log(noise.sigmas[-1]), np.log(noise.sigmas[0]), num_inference_steps))


def sgm_uniform_sigmas(noise: NoiseSchedule, num_inference_steps: int) -> Floats:
    """Evenly spaced timesteps from the last towards 0, 0 left out, as Stability's generative-models has it."""
    return noise.sigmas_at(np.linspace(noise.num_train_timesteps - 1, 0, num_inference_steps + 1)[:-1])


def leading_sigmas(noise: NoiseSchedule, num_inference_steps: int) -> Floats:
    """DDPM's and DDIM's grid in Stable Diffusion (diffusers' timestep_spacing "leading", steps_offset 1):
    timesteps i * floor(T / N) + 1."""
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
"""The sigmas of the steps, (N,) descending and above 0, from the model's schedule and the number of steps, by name."""


def time_features(timesteps: Floats, frequencies: Floats) -> NDArray[np.float32]:
    """The UNet's sinusoidal features (Vaswani et al. 2017, section 3.5), cosines first.

    timesteps: (B,), may be fractional. frequencies: (F / 2,). Returns (B, F) float32, computed in float64 because a
    runtime's bf16 mode would round a timestep of 961.73 to 960.
    """
    angles = timesteps[:, None] * frequencies[None, :]
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
