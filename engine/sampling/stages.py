"""The algebra in which samplers are written: each evaluation of the UNet is a stage of linear combinations.

A stage evaluates D = u - sigma * eps(c_in * u, t) at a point u. What follows is linear in six vectors:

    X   the state x before the stage, to which steps of the sampler return
    D   the denoised latents of this stage
    H1, H2, H3   what the three stages before kept, the latest first; 0 before the first stage
    Z   new standard normal noise

A stage states three combinations of them: the next x; the next point u, if it is not x; and what it keeps as H1 of
the next stage, if it is not D. The first point u is x. All combinations are coefficients (6,) float64, so the equations
of a paper can be written with X, D, ... as if these were the latents themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine.sampling.schedules import Floats

__all__ = ["H1", "H2", "H3", "D", "Sampling", "Stage", "X", "Z", "euler_step", "seen_later", "stages_of"]

X, D, H1, H2, H3, Z = np.eye(6)


@dataclass(frozen=True)
class Stage:
    """One evaluation of the UNet at the noise level sigma, and the combinations that follow it."""

    sigma: float
    x: Floats
    """The next state."""
    u: Floats | None = None
    """The next point of evaluation. None is the next state."""
    kept: Floats | None = None
    """What the next stage sees as H1. None keeps D."""


Sampling = Callable[[Floats], list[Stage]]
"""The function of a sampler: from descending sigmas (N + 1,), the last 0 or the model's smallest, to its stages."""


def seen_later(combination: Floats) -> Floats:
    """Return a combination of this stage as the next stage sees it, if this stage keeps D and does not move x."""
    x, denoised, first, second, third, noise = combination
    assert third == noise == 0, "the next stage sees neither H3 nor Z of this stage"
    return np.array([x, 0.0, denoised, first, second, 0.0])


def euler_step(sigma: float, following: float) -> Floats:
    """Return Euler's step from x at sigma along the slope (x - D) / sigma."""
    return np.asarray(X + (following - sigma) * (X - D) / sigma)


def stages_of(table: Callable[[Floats], Floats]) -> Sampling:
    """Return the stages of a sampler that evaluates at x and keeps D. table: from sigmas (N + 1,) to the coefficients
    (N, 4) of X, D, H1 and Z."""

    def stages(sigmas: Floats) -> list[Stage]:
        places = [0, 1, 2, 5]
        found = np.zeros((len(sigmas) - 1, 6))
        found[:, places] = table(sigmas)
        return [Stage(float(sigma), x) for sigma, x in zip(sigmas[:-1], found, strict=True)]

    return stages
