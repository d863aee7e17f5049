"""Noise schedules: pure functions in float64 from a model's betas to the sigmas of a run and back to timesteps.

The variance-exploding notation of Karras et al. 2022 (arXiv:2206.00364): x = x0 + sigma * eps, where a DDPM latent
is x / sqrt(sigma^2 + 1) and sigma^2 = (1 - abar) / abar.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Floats", "NoiseSchedule", "karras_sigmas", "time_features"]

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


def karras_sigmas(schedule: NoiseSchedule, num_inference_steps: int, rho: float = 7.0) -> Floats:
    """Equation 5 of Karras et al. 2022 over the model's range, with a final 0: (num_inference_steps + 1,)."""
    own = schedule.sigmas
    low, high = own[0] ** (1 / rho), own[-1] ** (1 / rho)
    ramp = np.linspace(0, 1, num_inference_steps, dtype=np.float64)
    return np.append((high + ramp * (low - high)) ** rho, 0.0)


def time_features(timesteps: Floats, frequencies: Floats) -> NDArray[np.float32]:
    """The UNet's sinusoidal features (Vaswani et al. 2017, section 3.5), cosines first.

    timesteps: (B,), may be fractional. frequencies: (F / 2,). Returns (B, F) float32, computed in float64 because a
    runtime's bf16 mode would round a timestep of 961.73 to 960.
    """
    angles = timesteps[:, None] * frequencies[None, :]
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
