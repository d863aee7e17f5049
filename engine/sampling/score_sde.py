"""Samplers of score-based models, Song et al. 2021 (arXiv:2011.13456), in their variance-exploding form.

The score at level i is s_i(x) = (D - x) / sigma_i^2. The reverse-time SDE is solved by Euler-Maruyama in the time
sigma^2, which is the paper's reverse diffusion sampler (algorithm 2, appendix E).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from engine.sampling.schedules import Floats
from engine.sampling.stages import D, Stage, X, Z

__all__ = ["predictor_corrector", "probability_flow", "reverse_sde"]

SIGNAL_TO_NOISE = 0.16
"""The ratio r of the corrector, from the paper's table for VE models."""


def reverse_sde(sigmas: Floats) -> list[Stage]:
    """Reverse-time SDE: x_{i+1} = x_i + v s_i(x_i) + sqrt(v) z with v = sigma_i^2 - sigma_{i+1}^2. A step to sigma 0
    returns D."""
    return [Stage(float(sigma), _predicted(sigma, following)) for sigma, following in pairwise(sigmas)]


def predictor_corrector(sigmas: Floats) -> list[Stage]:
    """Algorithm 2 with one corrector step per level: the step of `reverse_sde`, then Langevin dynamics at its end.

    x <- x + e s(x) + sqrt(2 e) z. The paper takes e = 2 (r |z| / |s|)^2 from the norms of each batch. A fixed table
    takes the expected ratio instead: the score of a noisy picture is about -z / sigma, so that e = 2 (r sigma)^2.
    """
    pull = 2 * SIGNAL_TO_NOISE**2
    stages = []
    for sigma, following in pairwise(sigmas):
        stages.append(Stage(float(sigma), _predicted(sigma, following)))
        if following > 0:
            noise = 2 * SIGNAL_TO_NOISE * following
            stages.append(Stage(float(following), (1 - pull) * X + pull * D + noise * Z))
    return stages


def probability_flow(sigmas: Floats) -> list[Stage]:
    """Probability-flow ODE by Euler's method in the time sigma^2: x_{i+1} = x_i + v / 2 s_i(x_i) (appendix E). A step
    to sigma 0 returns D. `euler` solves the same ODE in the time sigma."""
    stages = []
    for sigma, following in pairwise(sigmas):
        share = (1 - (following / sigma) ** 2) / 2
        stages.append(Stage(float(sigma), D if following == 0 else (1 - share) * X + share * D))
    return stages


def _predicted(sigma: float, following: float) -> Floats:
    share = 1 - (following / sigma) ** 2
    noise = sigma * np.sqrt(share) if following > 0 else 0.0
    return np.asarray((1 - share) * X + share * D + noise * Z)
