"""Classifier-free guidance (Ho and Salimans 2022, arXiv:2207.12598) as a table: one scale a step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["guidance_table", "guide"]


def guidance_table(num_inference_steps: int, guidance_scale: float) -> tuple[float, ...]:
    """The scale of each step; a step of scale 1 needs no unconditional half and runs half the batch."""
    return (guidance_scale,) * num_inference_steps


def guide(eps: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """eps_uncond + scale * (eps_cond - eps_uncond).

    eps: (2B, C, h, w), the conditional half first, or (B, C, h, w) where scale is 1. Returns (B, C, h, w).
    """
    if scale == 1:
        return eps
    conditional, unconditional = np.split(eps, 2)
    return unconditional + np.float32(scale) * (conditional - unconditional)
