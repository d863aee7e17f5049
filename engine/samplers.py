"""Samplers as tables. With D = x - sigma * eps(x * c_in, t), every sampler here is
`x_next = a * x + b * D + c * D_prev + d * z`, one row a step, in float64 and without any model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from engine.schedules import Floats, NoiseSchedule, karras_sigmas

__all__ = ["SAMPLERS", "SCHEDULES", "SamplerPlan", "StepRow", "dpmpp_2m", "plan_steps"]


@dataclass(frozen=True)
class StepRow:
    """One step: the noise level, what the UNet is given (timestep, input scale), and the update's coefficients."""

    sigma: float
    timestep: float
    c_in: float
    a: float
    b: float
    c: float
    d: float


@dataclass(frozen=True)
class SamplerPlan:
    """The rows in order, and the standard deviation of the first latents."""

    initial_scale: float
    rows: tuple[StepRow, ...]


def dpmpp_2m(sigmas: Floats) -> Floats:
    """DPM-Solver++(2M), Lu et al. 2022 (arXiv:2211.01095), algorithm 2, in the data-prediction form.

    sigmas: (N + 1,) descending, the last may be 0. Returns the coefficients (N, 4) of a, b, c, d.
    With lambda = -log sigma and h_i = lambda_{i+1} - lambda_i, r = h_{i-1} / h_i:
    x_{i+1} = sigma_{i+1} / sigma_i x_i + (1 - e^{-h_i}) ((1 + 1 / 2r) D_i - 1 / 2r D_{i-1}).
    The first step is first order, and so is a step to sigma 0, where x = D.
    """
    table = np.zeros((len(sigmas) - 1, 4))
    for i, (sigma, following) in enumerate(pairwise(sigmas)):
        if following == 0:
            table[i, 1] = 1.0
            continue
        h = np.log(sigma / following)
        gain = -np.expm1(-h)
        extrapolation = 0.0 if i == 0 else h / (2 * np.log(sigmas[i - 1] / sigma))
        table[i, :3] = following / sigma, gain * (1 + extrapolation), -gain * extrapolation
    return table


SAMPLERS: dict[str, Callable[[Floats], Floats]] = {"dpmpp_2m": dpmpp_2m}
"""Coefficients (N, 4) from sigmas (N + 1,), by name."""

SCHEDULES: dict[str, Callable[[NoiseSchedule, int], Floats]] = {"karras": karras_sigmas}
"""Sigmas (N + 1,) from the model's schedule and the number of steps, by name."""


def plan_steps(noise: NoiseSchedule, *, sampler: str, schedule: str, num_inference_steps: int) -> SamplerPlan:
    """The plan of a run. Raises KeyError for an unknown sampler or schedule."""
    sigmas = SCHEDULES[schedule](noise, num_inference_steps)
    coefficients = SAMPLERS[sampler](sigmas)
    timesteps = noise.timesteps(sigmas[:-1])
    c_in = 1 / np.sqrt(sigmas[:-1] ** 2 + 1)
    columns = np.column_stack([sigmas[:-1], timesteps, c_in, coefficients])
    return SamplerPlan(float(sigmas[0]), tuple(StepRow(*row) for row in columns.tolist()))
