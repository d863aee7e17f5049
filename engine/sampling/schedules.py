"""Noise schedules: pure functions in float64 from the betas of a model to sigmas, and from sigmas to timesteps.

The notation is the variance-exploding one of Karras et al. 2022 (arXiv:2206.00364): x = x0 + sigma * eps. A DDPM
latent is x / sqrt(sigma^2 + 1), with sigma^2 = (1 - abar) / abar.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.sampling.beta_distribution import beta_quantile

__all__ = [
    "ABOVE_ZERO",
    "ALIGNED",
    "SCHEDULES",
    "Floats",
    "NoiseSchedule",
    "align_your_steps_sigmas",
    "beta_sigmas",
    "exponential_sigmas",
    "karras_between",
    "karras_sigmas",
    "kl_optimal_sigmas",
    "lcm_sigmas",
    "leading_sigmas",
    "normal_sigmas",
    "sgm_uniform_sigmas",
    "simple_sigmas",
    "time_features",
]

Floats = NDArray[np.float64]
ALIGNED = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029)
"""The published sigmas of Align Your Steps for Stable Diffusion 1.5 at ten steps."""
LCM_LEVELS = 50


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


def karras_between(lowest: float, highest: float, count: int, rho: float = 7.0) -> Floats:
    """Return equation 5 of Karras et al. 2022: so many sigmas, evenly spaced in sigma^(1 / rho), highest first."""
    low, high = lowest ** (1 / rho), highest ** (1 / rho)
    return np.asarray((high + np.linspace(0, 1, count) * (low - high)) ** rho)


def karras_sigmas(noise: NoiseSchedule, num_inference_steps: int) -> Floats:
    """Return Karras's sigmas over the range of the model."""
    return karras_between(noise.sigmas[0], noise.sigmas[-1], num_inference_steps)


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


def simple_sigmas(noise: NoiseSchedule, num_inference_steps: int) -> Floats:
    """Return sigmas of whole timesteps from the last one down, T - 1 - floor(i T / N), as ComfyUI and the WebUI do."""
    total = noise.num_train_timesteps
    places = (np.arange(num_inference_steps) * (total / num_inference_steps)).astype(int)
    return np.asarray(noise.sigmas[total - 1 - places])


def beta_sigmas(noise: NoiseSchedule, num_inference_steps: int, a: float = 0.6, b: float = 0.6) -> Floats:
    """Return sigmas at the quantiles of a beta distribution over the range of the model, dense at both ends.

    Lee et al. 2024 (arXiv:2407.12173) space timesteps so. The WebUI spaces sigmas, as this function does.
    """
    low, high = noise.sigmas[0], noise.sigmas[-1]
    shares = [beta_quantile(1 - i, a, b) for i in np.linspace(0, 1, num_inference_steps).tolist()]
    return np.asarray(low + np.array(shares) * (high - low))


def kl_optimal_sigmas(noise: NoiseSchedule, num_inference_steps: int) -> Floats:
    """Return sigmas evenly spaced in arctan(sigma), Sabour et al. 2024 (arXiv:2404.14507, section 3.2). The schedule
    ends at the smallest sigma of the model, which is no step any more."""
    low, high = np.arctan(noise.sigmas[0]), np.arctan(noise.sigmas[-1])
    return np.tan(np.linspace(high, low, num_inference_steps + 1)[:-1])


def align_your_steps_sigmas(noise: NoiseSchedule, num_inference_steps: int) -> Floats:
    """Return the levels of Sabour et al. 2024 for Stable Diffusion 1.5, interpolated linearly in log sigma.

    A model of another range of sigmas has these levels stretched in log sigma.
    """
    known = np.log(ALIGNED)
    own = np.log(noise.sigmas[[-1, 0]])
    if not np.allclose(own, known[[0, -1]], rtol=0, atol=0.01):
        known = own[1] + (known - known[-1]) * (own[0] - own[1]) / (known[0] - known[-1])
    places = np.linspace(0, len(known) - 1, num_inference_steps)
    return np.exp(np.interp(places, np.arange(len(known)), known))


def lcm_sigmas(noise: NoiseSchedule, num_inference_steps: int) -> Floats:
    """Return evenly spaced timesteps from the last to that of the lowest of the 50 levels on which latent consistency
    models are distilled, as in the WebUI."""
    last = noise.num_train_timesteps - 1
    lowest = max(1, noise.num_train_timesteps // LCM_LEVELS) - 1
    return noise.sigmas_at(np.linspace(last, lowest, num_inference_steps))


SCHEDULES: dict[str, Callable[[NoiseSchedule, int], Floats]] = {
    "karras": karras_sigmas,
    "normal": normal_sigmas,
    "exponential": exponential_sigmas,
    "sgm_uniform": sgm_uniform_sigmas,
    "leading": leading_sigmas,
    "polyexponential": exponential_sigmas,
    "uniform": normal_sigmas,
    "simple": simple_sigmas,
    "beta": beta_sigmas,
    "kl_optimal": kl_optimal_sigmas,
    "align_your_steps": align_your_steps_sigmas,
    "lcm": lcm_sigmas,
}
"""Functions from the schedule of the model and the number of steps to sigmas (N,), descending and above 0, by name.

The polyexponential schedule is exp of (1 - i / (N - 1))^rho over the range of log sigma. With the WebUI's rho of 1 it
is the exponential one. The WebUI's uniform schedule is the normal one.
"""
ABOVE_ZERO = frozenset({"kl_optimal"})
"""Schedules whose last step goes to the smallest sigma of the model instead of 0."""


def time_features(timesteps: Floats, frequencies: Floats) -> NDArray[np.float32]:
    """Return the sinusoidal time features of the UNet (Vaswani et al. 2017, section 3.5), cosines first.

    timesteps: (B,), may be fractional. frequencies: (F / 2,). Returns (B, F) float32. They are computed in float64,
    because the bf16 mode of a runtime would round a timestep of 961.73 to 960.
    """
    angles = timesteps[:, None] * frequencies[None, :]
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
