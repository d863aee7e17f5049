"""The log-likelihood of latents by the probability-flow ODE (Song et al. 2021, arXiv:2011.13456, section 4.3).

In sigma space the ODE is dx / dsigma = eps(x, sigma). Along its path d log p(x) / dsigma = -div eps(x, sigma), so
log p(x_min) = log p(x_max) + integral of div eps from sigma_min to sigma_max, with the prior
x_max ~ N(0, (1 + sigma_max^2) I). The divergence is Hutchinson's estimate v^T (d eps / d x) v, where the entries of v
are -1 or 1. Each v stays the same along the path, as in FFJORD (Grathwohl et al. 2019, arXiv:1810.01367).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

__all__ = ["Estimate", "log_likelihood"]

Eps = Callable[[torch.Tensor, float], torch.Tensor]


@dataclass(frozen=True)
class Estimate:
    """The log-likelihood of each latent (B,) float64, and the standard error of Hutchinson's estimate of it (B,).

    The error is NaN if there is one probe only.
    """

    values: torch.Tensor
    errors: torch.Tensor


def log_likelihood(
    eps: Eps,
    latents: torch.Tensor,
    probes: torch.Tensor,
    sigmas: tuple[float, float],
    steps: int,
    tick: Callable[[], None] = lambda: None,
) -> Estimate:
    """Return the natural log-likelihood of latents at the smallest noise level.

    Heun's method takes equal steps of log sigma. The path and the integral use the same evaluations, two per step.

    Args:
        eps: The model: x (B, C, h, w) float32 and sigma to the noise's estimate, of the same shape, differentiable.
        latents: x_min (B, C, h, w) float32: latents with noise of deviation sigma_min.
        probes: (K, B, C, h, w), entries -1 or 1.
        sigmas: sigma_min and sigma_max.
        tick: Called after each step.
    """
    low, high = sigmas
    width = math.log(high / low) / steps
    levels = [low * math.exp(width * step) for step in range(steps + 1)]
    x = latents
    integral = torch.zeros(probes.shape[:2], dtype=torch.float64)
    slope, rate = _slope_and_rate(eps, x, probes, levels[0])
    for place, level in enumerate(levels[1:], 1):
        # x and the integral by log sigma: d x / d log sigma = sigma eps.
        guess = x + width * slope
        following, following_rate = _slope_and_rate(eps, guess, probes, level)
        x = x + width / 2 * (slope + following)
        integral += width / 2 * (rate + following_rate)
        if place < steps:
            slope, rate = _slope_and_rate(eps, x, probes, level)
        tick()
    variance = 1 + levels[-1] ** 2
    dimensions = x[0].numel()
    prior = -0.5 * (x.double().pow(2).flatten(1).sum(1) / variance + dimensions * math.log(2 * math.pi * variance))
    values = prior.cpu() + integral
    spread = values.std(0) if len(probes) > 1 else torch.full_like(values[0], math.nan)
    return Estimate(values.mean(0), spread / math.sqrt(len(probes)))


def _slope_and_rate(eps: Eps, x: torch.Tensor, probes: torch.Tensor, sigma: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return sigma eps (B, C, h, w), and sigma v^T (d eps / d x) v for each probe: (K, B) float64 on the CPU."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        found = eps(x, sigma)
        rates = []
        for place, probe in enumerate(probes):
            (product,) = torch.autograd.grad(found, x, probe, retain_graph=place + 1 < len(probes))
            rates.append((product * probe).double().flatten(1).sum(1).cpu())
    return sigma * found.detach(), sigma * torch.stack(rates)
