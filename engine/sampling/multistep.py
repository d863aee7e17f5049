"""Multistep samplers, which reuse what earlier steps found: DPM++ 2M, LMS, PLMS and UniPC."""

from __future__ import annotations

from itertools import pairwise
from math import factorial

import numpy as np

from engine.sampling.schedules import Floats
from engine.sampling.stages import H1, H2, H3, D, Stage, X
from engine.sampling.start import SAME

__all__ = ["dpmpp_2m", "lms", "plms", "unipc"]

PAST = (H1, H2, H3)
LMS_ORDER = 4
UNIPC_ORDER = 3
ADAMS_BASHFORTH = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))
"""The weights of the latest slopes, the latest first, of the methods of order 1 to 4."""


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


def lms(sigmas: Floats) -> list[Stage]:
    """Linear multistep method of order 4 (k-diffusion): Adams-Bashforth on the uneven grid of sigmas.

    x_{i+1} = x_i + sum_j w_j s_{i-j} with the slopes s = (x - D) / sigma, where w_j is the integral from sigma_i to
    sigma_{i+1} of the Lagrange polynomial that is 1 at sigma_{i-j} and 0 at the other levels.
    """
    stages = []
    for i, (sigma, following) in enumerate(pairwise(sigmas)):
        slope = (X - D) / sigma
        levels = sigmas[max(0, i + 1 - LMS_ORDER) : i + 1][::-1]
        weights = [_lagrange_integral(levels, j, sigma, following) for j in range(len(levels))]
        slopes = [slope, *PAST][: len(levels)]
        moves = [weight * one for weight, one in zip(weights, slopes, strict=True)]
        stages.append(Stage(float(sigma), X + np.sum(moves, axis=0), kept=slope))
    return stages


def _lagrange_integral(levels: Floats, place: int, start: float, end: float) -> float:
    """Return the integral of the Lagrange polynomial of levels[place], of at most third degree.

    Gauss-Legendre's rule with two nodes is exact for this degree.
    """
    nodes, weights = np.polynomial.legendre.leggauss(2)
    middle, half = (start + end) / 2, (end - start) / 2
    others = np.delete(levels, place)
    values = [np.prod((middle + half * node - others) / (levels[place] - others)) for node in nodes]
    return float(half * np.dot(weights, values))


def plms(sigmas: Floats) -> list[Stage]:
    """Pseudo linear multistep method, Liu et al. 2022 (arXiv:2202.09778), with DDIM's step and order 4.

    x_{i+1} = x_i + (sigma_{i+1} - sigma_i) e, where e is the Adams-Bashforth mean of the latest eps. The first step is
    the improved Euler method: it evaluates a second time at its end, and takes the mean of both eps.
    """
    first, second = float(sigmas[0]), float(sigmas[1])
    if second == 0:
        return [Stage(first, D)]
    eps = (X - D) / first
    predicted = X + (second - first) * eps
    # The second stage sees the first eps as H1 and keeps it, so that its own eps does not enter later steps.
    again = X + (second - first) * H1
    stages = [
        Stage(first, X, u=predicted, kept=eps),
        Stage(second, X + (second - first) / 2 * (H1 + (again - D) / second), kept=H1),
    ]
    for i, (sigma, following) in enumerate(pairwise(sigmas[1:]), 1):
        eps = (X - D) / sigma
        weights = ADAMS_BASHFORTH[min(i, 3)]
        mean = np.sum([weight * one for weight, one in zip(weights, (eps, *PAST), strict=False)], axis=0)
        stages.append(Stage(float(sigma), X + (following - sigma) * mean, kept=eps))
    return stages


def unipc(sigmas: Floats) -> list[Stage]:
    """UniPC of order 3, Zhao et al. 2023 (arXiv:2302.04867), with data prediction and B_1(h) = h.

    Each stage evaluates at the predicted point (UniP), corrects the step that led there (UniC), and predicts the next
    point from the corrected one. The last steps have lower orders, and the last one has no corrector.
    """
    stages = []
    count = len(sigmas) - 1
    orders = [min(step, UNIPC_ORDER, count + 1 - step) for step in range(1, count + 1)]
    for i, (sigma, following) in enumerate(pairwise(sigmas)):
        x = X
        if i:
            x = _unified_step(sigmas, i - 1, orders[i - 1], X, [*PAST], D)
        last = i == count - 1
        if following == 0:
            predicted = D
        elif last and following > sigma * (1 - SAME):
            # The schedule itself ends at the smallest sigma, so that nothing is left to do.
            predicted = x
        else:
            predicted = _unified_step(sigmas, i, orders[i], x, [D, H1, H2])
        stages.append(Stage(float(sigma), predicted if last else x, u=None if last else predicted))
    return stages


def _unified_step(
    sigmas: Floats, i: int, order: int, x: Floats, known: list[Floats], arrived: Floats | None = None
) -> Floats:
    """Return the step from level i to i + 1: UniP, or UniC if the denoised latents where UniP arrived are given.

    known: the denoised latents of level i and of the levels before. With lambda = -log sigma, h = lambda_{i+1} -
    lambda_i and r_k = (lambda_{i-k} - lambda_i) / h: x_{i+1} = e^{-h} x_i + (1 - e^{-h}) D_i + h sum_k rho_k (D_{i-k} -
    D_i) / r_k, where rho solves sum_k rho_k r_k^{n-1} = n! phi_{n+1}(-h) for every n up to the number of terms. UniC
    has the term r = 1 of the level i + 1 in addition.
    """
    lambdas = -np.log(sigmas[max(0, i - order + 1) : i + 2])[::-1]
    h = lambdas[0] - lambdas[1]
    ratios = [(lambdas[1 + k] - lambdas[1]) / h for k in range(1, order)]
    differences = [(one - known[0]) / r for one, r in zip(known[1:], ratios, strict=False)]
    if arrived is not None:
        ratios.append(1.0)
        differences.append(arrived - known[0])
    found = -np.expm1(-h) * known[0] + sigmas[i + 1] / sigmas[i] * x
    if len(ratios) == 1:
        # The equation of one term alone would give another value; the paper takes 1 / 2, the limit of small steps.
        weights = np.array([0.5])
    elif ratios:
        powers = np.vander(np.array(ratios), increasing=True).T
        weights = np.linalg.solve(powers, [factorial(n) * _phi(n + 1, -h) for n in range(1, len(ratios) + 1)])
    else:
        return np.asarray(found)
    return np.asarray(found + h * np.sum([w * one for w, one in zip(weights, differences, strict=True)], axis=0))


def _phi(n: int, z: float) -> float:
    """Return phi_n(z) of exponential integrators: phi_0 = e^z and phi_n = (phi_{n-1}(z) - 1 / (n - 1)!) / z."""
    value = float(np.expm1(z) / z)
    for k in range(2, n + 1):
        value = (value - 1 / factorial(k - 1)) / z
    return value
