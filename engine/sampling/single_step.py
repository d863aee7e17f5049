"""Single-step samplers without noise: Euler, DDIM, Heun, DPM2."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from engine.sampling.schedules import Floats
from engine.sampling.stages import D, Stage, X, euler_step, seen_later

__all__ = ["ddim", "dpm2", "dpm2_step", "euler", "heun", "heun_step"]


def euler(sigmas: Floats) -> Floats:
    """Euler's method on dx / dsigma = (x - D) / sigma (Karras et al. 2022, arXiv:2206.00364, algorithm 2 without
    churn): x_{i+1} = x_i + (sigma_{i+1} - sigma_i) (x_i - D_i) / sigma_i."""
    slope = np.diff(sigmas) / sigmas[:-1]
    none = np.zeros_like(slope)
    return np.column_stack([1 + slope, -slope, none, none])


def ddim(sigmas: Floats) -> Floats:
    """DDIM with eta 0, Song et al. 2021 (arXiv:2010.02502), equation 12, for u = sqrt(abar) x, abar = 1 / (1 +
    sigma^2): u_{i+1} = sqrt(abar_{i+1}) D_i + sqrt(1 - abar_{i+1}) eps_i, eps_i = (x_i - D_i) / sigma_i."""
    abar = 1 / (1 + sigmas**2)
    kept = np.sqrt(1 - abar[1:]) / np.sqrt(abar[1:]) / sigmas[:-1]
    none = np.zeros_like(kept)
    return np.column_stack([kept, 1 - kept, none, none])


def heun(sigmas: Floats) -> list[Stage]:
    """Heun's method (Karras et al. 2022, algorithm 1): Euler's step, a second evaluation at its end, and the mean of
    both slopes. A step to sigma 0 is Euler's."""
    return [stage for sigma, following in pairwise(sigmas) for stage in heun_step(sigma, following)]


def heun_step(sigma: float, following: float) -> list[Stage]:
    """Return the stages of one step of Heun's method."""
    predicted = euler_step(sigma, following)
    if following == 0:
        return [Stage(float(sigma), predicted)]
    slope, end = seen_later((X - D) / sigma), seen_later(predicted)
    mean = (slope + (end - D) / following) / 2
    return [Stage(float(sigma), X, u=predicted), Stage(float(following), X + (following - sigma) * mean)]


def dpm2(sigmas: Floats) -> list[Stage]:
    """DPM-Solver-2, Lu et al. 2022 (arXiv:2206.00927), as in k-diffusion: the midpoint method with its middle in log
    sigma. A step to sigma 0 is Euler's."""
    return [stage for sigma, following in pairwise(sigmas) for stage in dpm2_step(sigma, following)]


def dpm2_step(sigma: float, following: float) -> list[Stage]:
    """Return the stages of one step of the midpoint method."""
    if following == 0:
        return [Stage(float(sigma), euler_step(sigma, following))]
    middle = float(np.sqrt(sigma * following))
    halfway = euler_step(sigma, middle)
    slope = (seen_later(halfway) - D) / middle
    return [Stage(float(sigma), X, u=halfway), Stage(middle, X + (following - sigma) * slope)]
