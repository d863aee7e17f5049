"""Samplers that add noise: ancestral ones, solvers of the reverse SDE, Restart, LCM and Langevin dynamics.

Ancestral samplers step to sigma_down and add noise of sigma_up, with sigma_down^2 + sigma_up^2 = sigma_{i+1}^2 and
sigma_up^2 = sigma_{i+1}^2 (sigma_i^2 - sigma_{i+1}^2) / sigma_i^2. Solvers of the SDE have eta 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np

from engine.sampling.schedules import Floats, karras_between
from engine.sampling.single_step import dpm2_step, heun_step
from engine.sampling.stages import H1, H2, D, Stage, X, Z, seen_later

__all__ = [
    "ddpm",
    "dpm2_a",
    "dpm_fast",
    "dpmpp_2m_sde",
    "dpmpp_2m_sde_heun",
    "dpmpp_2s_a",
    "dpmpp_3m_sde",
    "dpmpp_sde",
    "euler_a",
    "langevin",
    "lcm",
    "restart",
]

RESTART_AT, RESTART_TO = 0.1, 2.0
"""The noise levels from which and to which Restart adds noise."""


def euler_a(sigmas: Floats) -> Floats:
    """Ancestral Euler (k-diffusion): Euler's step to sigma_down, then noise of sigma_up."""
    sigma, following = sigmas[:-1], sigmas[1:]
    up = following * np.sqrt(1 - (following / sigma) ** 2)
    down = np.sqrt(following**2 - up**2)
    return np.column_stack([down / sigma, 1 - down / sigma, np.zeros_like(up), up])


def ddpm(sigmas: Floats) -> Floats:
    """Ancestral sampling, Ho et al. 2020 (arXiv:2006.11239), algorithm 1 with the posterior's variance (equation 7),
    for u = sqrt(abar) x, abar = 1 / (1 + sigma^2), alpha_i = abar_i / abar_{i+1}:
    u_{i+1} = (u_i - (1 - alpha_i) / sqrt(1 - abar_i) eps_i) / sqrt(alpha_i) + s_i z,
    s_i^2 = (1 - abar_{i+1}) / (1 - abar_i) (1 - alpha_i)."""
    abar = 1 / (1 + sigmas**2)
    beta = 1 - abar[:-1] / abar[1:]
    share = beta / (1 - abar[:-1])
    up = np.sqrt((1 - abar[1:]) * share / abar[1:])
    return np.column_stack([1 - share, share, np.zeros_like(up), up])


def dpm2_a(sigmas: Floats) -> list[Stage]:
    """Ancestral DPM2 (k-diffusion): the midpoint method to sigma_down, then noise of sigma_up."""
    stages = []
    for sigma, following in pairwise(sigmas):
        down, up = _ancestral(sigma, following)
        *earlier, last = dpm2_step(sigma, down)
        stages += [*earlier, replace(last, x=last.x + up * Z)]
    return stages


def dpmpp_2s_a(sigmas: Floats) -> list[Stage]:
    """DPM-Solver++(2S), Lu et al. 2022 (arXiv:2211.01095), algorithm 1, with r = 1 / 2, to sigma_down, then noise of
    sigma_up (k-diffusion)."""
    stages = []
    for sigma, following in pairwise(sigmas):
        down, up = _ancestral(sigma, following)
        if down == 0:
            stages.append(Stage(float(sigma), D))
            continue
        middle = float(np.sqrt(sigma * down))
        stages += [
            Stage(float(sigma), X, u=_exponential_step(sigma, middle, D)),
            Stage(middle, _exponential_step(sigma, down, D) + up * Z),
        ]
    return stages


def dpmpp_sde(sigmas: Floats) -> list[Stage]:
    """DPM-Solver++ for the SDE (k-diffusion), with r = 1 / 2: both stages of a step see one Brownian motion W(sigma).

    The first stage moves by W(middle) - W(sigma) and the second one by W(following) - W(sigma), each scaled to its
    sigma_up. The increment of the first half therefore enters the state at the first stage, and that of the second half
    at the second stage. A step to sigma 0 returns D.
    """
    stages = []
    for sigma, following in pairwise(sigmas):
        if following == 0:
            stages.append(Stage(float(sigma), D))
            continue
        middle = float(np.sqrt(sigma * following))
        middle_down, middle_up = _ancestral(sigma, middle)
        down, up = _ancestral(sigma, following)
        early = np.sqrt((sigma - middle) / (sigma - following))
        late = np.sqrt((middle - following) / (sigma - following))
        # The first denoised latents have the weight 1 - 1 / 2r = 0.
        stages += [
            Stage(
                float(sigma),
                down / sigma * X + up * early * Z,
                u=_exponential_step(sigma, middle_down, D) + middle_up * Z,
            ),
            Stage(middle, X + (1 - down / sigma) * D + up * late * Z),
        ]
    return stages


def dpmpp_2m_sde(sigmas: Floats) -> list[Stage]:
    """DPM-Solver++(2M) for the SDE, Lu et al. 2022 (arXiv:2211.01095, section 6), midpoint type (k-diffusion).

    With h = log(sigma_i / sigma_{i+1}), r = h_{i-1} / h and g = 1 - e^{-2h}:
    x_{i+1} = e^{-2h} x_i + g D_i + g / 2r (D_i - D_{i-1}) + sigma_{i+1} sqrt(g) z. A step to sigma 0 returns D.
    """
    return _dpmpp_2m_sde(sigmas, heun_type=False)


def dpmpp_2m_sde_heun(sigmas: Floats) -> list[Stage]:
    """The Heun type of `dpmpp_2m_sde`, in which 1 - g / 2h takes the place of g / 2."""
    return _dpmpp_2m_sde(sigmas, heun_type=True)


def _dpmpp_2m_sde(sigmas: Floats, *, heun_type: bool) -> list[Stage]:
    def step(i: int, following: float, steps: Floats) -> Floats:
        h = steps[i]
        gain = -np.expm1(-2 * h)
        x = (1 - gain) * X + gain * D + following * np.sqrt(gain) * Z
        if i:
            weight = 1 - gain / (2 * h) if heun_type else gain / 2
            x += weight * h / steps[i - 1] * (D - H1)
        return np.asarray(x)

    return _in_log_sigma(sigmas, step)


def _in_log_sigma(sigmas: Floats, step: Callable[[int, float, Floats], Floats]) -> list[Stage]:
    """Return the stages of a multistep sampler. A step to sigma 0 returns D.

    step: returns the next x from the index of the step, the next sigma, and h_i = log(sigma_i / sigma_{i+1}) of all
    steps.
    """
    steps = -np.diff(np.log(sigmas[sigmas > 0]))
    return [
        Stage(float(sigma), D if following == 0 else step(i, following, steps))
        for i, (sigma, following) in enumerate(pairwise(sigmas))
    ]


def dpmpp_3m_sde(sigmas: Floats) -> list[Stage]:
    """DPM-Solver++(3M) for the SDE (k-diffusion): third order by the divided differences of three denoised latents.

    With y = 2h, phi_2 = (e^{-y} - 1) / y + 1 and phi_3 = phi_2 / y - 1 / 2, the step is that of the first order plus
    phi_2 d_1 - phi_3 d_2, where d_1 and d_2 are the first and second difference in units of h. A step to sigma 0
    returns D.
    """

    def step(i: int, following: float, steps: Floats) -> Floats:
        h = steps[i]
        y = 2 * h
        phi_2 = np.expm1(-y) / y + 1
        phi_3 = phi_2 / y - 0.5
        x = np.exp(-y) * X - np.expm1(-y) * D + following * np.sqrt(-np.expm1(-y)) * Z
        if i == 1:
            x += phi_2 * h / steps[0] * (D - H1)
        elif i > 1:
            r_0, r_1 = steps[i - 1] / h, steps[i - 2] / h
            near, far = (D - H1) / r_0, (H1 - H2) / r_1
            second = (near - far) / (r_0 + r_1)
            x += phi_2 * (near + second * r_0) - phi_3 * second
        return np.asarray(x)

    return _in_log_sigma(sigmas, step)


def dpm_fast(sigmas: Floats) -> list[Stage]:
    """DPM-Solver-fast, Lu et al. 2022 (arXiv:2206.00927, section 3.4), ancestral as in the WebUI (k-diffusion, eta 1).

    It takes only the first level and the last level above 0 of the schedule, and the number of evaluations. Steps of
    three evaluations are even in log sigma; the last ones have two, or one. It ends at the last level.
    """
    count = len(sigmas) - 1
    last = sigmas[-1] or sigmas[-2]
    whole, rest = divmod(count, 3)
    orders = [3] * whole + [rest] if rest else [3] * (whole - 1) + [2, 1]
    levels = np.geomspace(sigmas[0], last, len(orders) + 1)
    stages: list[Stage] = []
    for order, (sigma, following) in zip(orders, pairwise(levels), strict=True):
        down = max(last, _ancestral(sigma, following)[0])
        up = np.sqrt(max(0.0, following**2 - down**2))
        *earlier, final = _dpm_solver_step(float(sigma), float(following), float(down), order)
        stages += [*earlier, replace(final, x=final.x + up * Z)]
    return stages


def _dpm_solver_step(sigma: float, following: float, down: float, order: int) -> list[Stage]:
    """Return one step of DPM-Solver-1, 2 or 3 to sigma `down`, in eps: algorithms 1 and 2 of arXiv:2206.00927."""
    h = np.log(sigma / down)
    eps = (X - D) / sigma
    if order == 1:
        return [Stage(sigma, X - down * np.expm1(h) * eps)]
    share = 1 / order
    first = sigma * np.exp(-share * h)
    halfway = X - first * np.expm1(share * h) * eps
    eps_0, eps_1 = seen_later(eps), (seen_later(halfway) - D) / first
    if order == 2:
        x = X - down * np.expm1(h) * (eps_0 + (eps_1 - eps_0) / (2 * share))
        return [Stage(sigma, X, u=halfway), Stage(float(first), x)]
    second = sigma * np.exp(-2 * share * h)

    def bent(gain: float) -> float:
        return float(np.expm1(gain) / gain - 1)

    further = X - second * (np.expm1(2 * share * h) * eps_0 + 2 * bent(2 * share * h) * (eps_1 - eps_0))
    start, eps_2 = seen_later(eps_0), (seen_later(further) - D) / second
    x = X - down * (np.expm1(h) * start + bent(h) / (2 * share) * (eps_2 - start))
    return [Stage(sigma, X, u=halfway), Stage(float(first), X, u=further), Stage(float(second), x)]


def lcm(sigmas: Floats) -> list[Stage]:
    """Multistep sampling of a latent consistency model, Luo et al. 2023 (arXiv:2310.04378): x_{i+1} = D_i +
    sigma_{i+1} z. The skip connection of the model's boundary condition is below 1e-5 at its timesteps and left out."""
    return [Stage(float(sigma), D + following * Z) for sigma, following in pairwise(sigmas)]


def restart(sigmas: Floats) -> list[Stage]:
    """Restart sampling, Xu et al. 2023 (arXiv:2306.14878), on Heun's method, with the parameters of the WebUI.

    From 20 steps on, part of the steps repeats the levels from 2 to 0.1: x goes up from 0.1 to 2 by added noise, and
    down again. 20 to 35 steps repeat 9 steps once. More steps repeat a quarter of them twice. Then Karras's schedule
    over the range of the given sigmas takes the place of the given one. Fewer steps are Heun's method.
    """
    count = len(sigmas) - 1
    times, repeated = (0, 0) if count < 20 else (1, 9) if count < 36 else (2, count // 4)
    steps = [*pairwise(sigmas)]
    if times:
        levels = np.append(karras_between(sigmas[-2], sigmas[0], count - times * repeated), sigmas[-1])
        low, high = (int(np.argmin(np.abs(levels - level))) for level in (RESTART_AT, RESTART_TO))
        steps = [*pairwise(levels)]
        if high < low:
            steps[low:low] = [*pairwise(karras_between(levels[low], levels[high], repeated + 1))] * times
    stages: list[Stage] = []
    for i, (sigma, following) in enumerate(steps):
        *earlier, last = heun_step(sigma, following)
        upper = steps[i + 1][0] if i + 1 < len(steps) else following
        if upper > following:
            last = replace(last, x=last.x + np.sqrt(upper**2 - following**2) * Z)
        stages += [*earlier, last]
    return stages


def langevin(sigmas: Floats, step_size: float) -> Floats:
    """Annealed Langevin dynamics, Song and Ermon 2019 (arXiv:1907.05600), algorithm 1, with the score
    s = -eps / sigma = (D - x) / sigma^2: x <- x + step_i / 2 s + sqrt(step_i) z, step_i = step_size sigma_i^2 /
    sigma_L^2, where sigma_L is the smallest sigma above 0. `sigmas` repeats each sigma once per step of its level."""
    levels = sigmas[:-1]
    smallest = levels[-1]
    pull = np.full(len(levels), step_size / (2 * smallest**2))
    return np.column_stack([1 - pull, pull, np.zeros_like(pull), np.sqrt(step_size) * levels / smallest])


def _ancestral(sigma: float, following: float) -> tuple[float, float]:
    """Return sigma_down and sigma_up."""
    up = float(following * np.sqrt(1 - (following / sigma) ** 2))
    return float(np.sqrt(following**2 - up**2)), up


def _exponential_step(sigma: float, following: float, denoised: Floats) -> Floats:
    """Return the exponential integrator's first-order step from x with these denoised latents."""
    return np.asarray(following / sigma * X + (1 - following / sigma) * denoised)
