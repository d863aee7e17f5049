"""Samplers as tables. With D = x - sigma * eps(x * c_in, t), every sampler here is
`x_next = a * x + b * D + c * D_prev + d * z`, with one row per step, in float64 and without any model.

The function of a sampler takes descending sigmas (N + 1,), whose last is 0 or the model's smallest. It returns the
coefficients (N, 4) of a, b, c, d. z is standard normal, and x is variance-exploding: x = x0 + sigma * eps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from engine.sampling.schedules import SCHEDULES, Floats, NoiseSchedule
from engine.sampling.start import StartLevel

__all__ = [
    "LANGEVIN",
    "SAMPLERS",
    "Langevin",
    "Sampler",
    "SamplerPlan",
    "StepRow",
    "ddim",
    "ddpm",
    "dpmpp_2m",
    "euler",
    "euler_a",
    "langevin",
    "plan_steps",
]


@dataclass(frozen=True)
class StepRow:
    """One step: the noise level, the inputs of the UNet (timestep, input scale), and the coefficients of the update."""

    sigma: float
    timestep: float
    c_in: float
    a: float
    b: float
    c: float
    d: float


@dataclass(frozen=True)
class SamplerPlan:
    """The table of a sampler: its rows in order, and the standard deviation of the first latents."""

    initial_scale: float
    rows: tuple[StepRow, ...]

    def sha256(self, scales: tuple[float, ...]) -> str:
        """Return the hash of these numbers and of the guidance scale of each row, as little-endian float64."""
        numbers = [self.initial_scale]
        for row, scale in zip(self.rows, scales, strict=True):
            numbers += [row.sigma, row.timestep, row.c_in, row.a, row.b, row.c, row.d, scale]
        return hashlib.sha256(np.array(numbers, "<f8").tobytes()).hexdigest()


def dpmpp_2m(sigmas: Floats) -> Floats:
    """DPM-Solver++(2M), Lu et al. 2022 (arXiv:2211.01095), algorithm 2, in the data-prediction form.

    With lambda = -log sigma and h_i = lambda_{i+1} - lambda_i, r = h_{i-1} / h_i:
    x_{i+1} = sigma_{i+1} / sigma_i x_i + (1 - e^{-h_i}) ((1 + 1 / 2r) D_i - 1 / 2r D_{i-1}).
    The first step is of first order. So is a step to sigma 0, which returns D.
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


def euler(sigmas: Floats) -> Floats:
    """Euler's method on dx / dsigma = (x - D) / sigma (Karras et al. 2022, arXiv:2206.00364, algorithm 2 without
    churn): x_{i+1} = x_i + (sigma_{i+1} - sigma_i) (x_i - D_i) / sigma_i."""
    slope = np.diff(sigmas) / sigmas[:-1]
    return _table(a=1 + slope, b=-slope)


def euler_a(sigmas: Floats) -> Floats:
    """Ancestral Euler (k-diffusion): step to sigma_down, then add noise of sigma_up, sigma_down^2 + sigma_up^2 =
    sigma_{i+1}^2 and sigma_up^2 = sigma_{i+1}^2 (sigma_i^2 - sigma_{i+1}^2) / sigma_i^2."""
    sigma, following = sigmas[:-1], sigmas[1:]
    up = following * np.sqrt(1 - (following / sigma) ** 2)
    down = np.sqrt(following**2 - up**2)
    return _table(a=down / sigma, b=1 - down / sigma, d=up)


def ddim(sigmas: Floats) -> Floats:
    """DDIM with eta 0, Song et al. 2021 (arXiv:2010.02502), equation 12, for u = sqrt(abar) x, abar = 1 / (1 +
    sigma^2): u_{i+1} = sqrt(abar_{i+1}) D_i + sqrt(1 - abar_{i+1}) eps_i, eps_i = (x_i - D_i) / sigma_i."""
    abar = 1 / (1 + sigmas**2)
    kept = np.sqrt(1 - abar[1:]) / np.sqrt(abar[1:]) / sigmas[:-1]
    return _table(a=kept, b=1 - kept)


def ddpm(sigmas: Floats) -> Floats:
    """Ancestral sampling, Ho et al. 2020 (arXiv:2006.11239), algorithm 1 with the posterior's variance (equation 7),
    for u = sqrt(abar) x, abar = 1 / (1 + sigma^2), alpha_i = abar_i / abar_{i+1}:
    u_{i+1} = (u_i - (1 - alpha_i) / sqrt(1 - abar_i) eps_i) / sqrt(alpha_i) + s_i z,
    s_i^2 = (1 - abar_{i+1}) / (1 - abar_i) (1 - alpha_i)."""
    abar = 1 / (1 + sigmas**2)
    beta = 1 - abar[:-1] / abar[1:]
    share = beta / (1 - abar[:-1])
    return _table(a=1 - share, b=share, d=np.sqrt((1 - abar[1:]) * share / abar[1:]))


def langevin(sigmas: Floats, step_size: float) -> Floats:
    """Annealed Langevin dynamics, Song and Ermon 2019 (arXiv:1907.05600), algorithm 1, with the score
    s = -eps / sigma = (D - x) / sigma^2: x <- x + step_i / 2 s + sqrt(step_i) z, step_i = step_size sigma_i^2 /
    sigma_L^2, where sigma_L is the smallest sigma above 0. `sigmas` repeats each sigma once per step of its level."""
    levels = sigmas[:-1]
    smallest = levels[-1]
    pull = np.full(len(levels), step_size / (2 * smallest**2))
    return _table(a=1 - pull, b=pull, d=np.sqrt(step_size) * levels / smallest)


def _table(a: Floats, b: Floats, d: Floats | None = None) -> Floats:
    return np.column_stack([a, b, np.zeros_like(a), np.zeros_like(a) if d is None else d])


@dataclass(frozen=True)
class Sampler:
    """A sampler: its coefficients, and the facts that its plan needs."""

    coefficients: Callable[[Floats], Floats]
    schedule: str
    """Name of its native schedule."""
    variance_preserving: bool = False
    """Whether the first latents have the deviation sqrt(1 + sigma^2), as in DDPM and DDIM, instead of sigma."""
    ends_at_zero: bool = True
    """Whether the last step goes to sigma 0. DDIM ends at the model's smallest sigma, as Stable Diffusion configures it
    (set_alpha_to_one false)."""


@dataclass(frozen=True)
class Langevin:
    """The settings of annealed Langevin dynamics besides its noise levels."""

    step_size: float = 1e-4
    """Step of the smallest level, in units of x squared."""
    steps_per_level: int = 20


LANGEVIN = "langevin"

SAMPLERS: dict[str, Sampler] = {
    "dpmpp_2m": Sampler(dpmpp_2m, "karras"),
    "euler": Sampler(euler, "normal"),
    "euler_a": Sampler(euler_a, "normal"),
    "ddim": Sampler(ddim, "leading", variance_preserving=True, ends_at_zero=False),
    "ddpm": Sampler(ddpm, "leading", variance_preserving=True),
    LANGEVIN: Sampler(lambda sigmas: langevin(sigmas, Langevin().step_size), "exponential"),
}


def plan_steps(
    noise: NoiseSchedule,
    *,
    sampler: str,
    schedule: str,
    num_inference_steps: int,
    langevin_settings: Langevin = Langevin(),
    start: StartLevel | None = None,
) -> SamplerPlan:
    """Return the plan of a run.

    start: where to begin if the first latents are those of an initial picture, x = z + initial_scale * noise. Nothing
    is evaluated at strength 0.

    A plan that ends above sigma 0 scales its last x by 1 / sqrt(1 + sigma^2), so that every plan ends with latents.
    Raises KeyError for an unknown sampler or schedule.
    """
    chosen = SAMPLERS[sampler]
    levels = SCHEDULES[schedule](noise, start.steps(num_inference_steps) if start else num_inference_steps)
    if start is not None:
        levels = start.cut(levels, num_inference_steps)
        if not len(levels):
            return SamplerPlan(0.0, ())
    coefficients = chosen.coefficients
    if sampler == LANGEVIN:
        levels = np.repeat(levels, langevin_settings.steps_per_level)

        def coefficients(sigmas: Floats) -> Floats:
            return langevin(sigmas, langevin_settings.step_size)

    last = 0.0 if chosen.ends_at_zero else float(noise.sigmas[0])
    table = coefficients(np.append(levels, last))
    table[-1] /= np.sqrt(1 + last**2)
    columns = np.column_stack([levels, noise.timesteps(levels), 1 / np.sqrt(levels**2 + 1), table])
    first = float(levels[0])
    from_noise = start is None and chosen.variance_preserving
    initial_scale = float(np.sqrt(1 + first**2)) if from_noise else first
    return SamplerPlan(initial_scale, tuple(StepRow(*row) for row in columns.tolist()))
