"""Classifier-free guidance (Ho and Salimans 2022, arXiv:2207.12598) as a table of one scale per step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["guidance_table", "guide", "guide_parts"]


def guidance_table(
    sigmas: Sequence[float],
    guidance_scale: float,
    interval: tuple[float, float] | None = None,
    factors: Sequence[float] | None = None,
) -> tuple[float, ...]:
    """Return the guidance scale of each step. A step of scale 1 needs no unconditional half and runs half the batch.

    interval: sigmas (low, high), both included. Steps outside the interval have no guidance (Kynkäänniemi et al. 2024,
    arXiv:2404.07724). None guides every step.
    factors: what the scale of each guided step is multiplied by, for a sampler that changes it. A scale of 1 is still
    no guidance.
    """
    low, high = interval or (0.0, math.inf)
    scales = tuple(guidance_scale if low <= sigma <= high else 1.0 for sigma in sigmas)
    if factors is None:
        return scales
    return tuple(1.0 if scale == 1 else scale * factor for scale, factor in zip(scales, factors, strict=True))


def guide(eps: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """Return eps_uncond + scale * (eps_cond - eps_uncond), of shape (B, C, h, w).

    eps: (2B, C, h, w) with the conditional half first, or (B, C, h, w) if scale is 1.
    """
    if scale == 1:
        return eps
    conditional, unconditional = np.split(eps, 2)
    return unconditional + np.float32(scale) * (conditional - unconditional)


def guide_parts(
    parts: Sequence[NDArray[np.float32]], uncond: NDArray[np.float32], weights: Sequence[float], scale: float
) -> NDArray[np.float32]:
    """Return eps_uncond + sum_i w_i * scale * (eps_i - eps_uncond), all (B, C, h, w).

    This is the conjunction of Liu et al. 2022 (arXiv:2206.01714), equation 12, with the guidance scale as a common
    factor, as AUTOMATIC1111's WebUI computes AND.
    """
    total = uncond.copy()
    for eps, weight in zip(parts, weights, strict=True):
        total += np.float32(weight * scale) * (eps - uncond)
    return total
