"""The noise level at which a picture that varies an initial picture begins.

A strength picks a step of the schedule, as in AUTOMATIC1111's WebUI: of S steps the last k + 1 are evaluated, with
k = int(min(strength, 0.999) * S). So the noise level depends on the sampler's schedule. A sigma is the level itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.sampling.schedules import Floats

__all__ = ["SAME", "StartLevel"]

MOST = 0.999
"""The strength above which every step is evaluated."""
SAME = 1e-6
"""Relative difference below which two sigmas are one level."""


@dataclass(frozen=True)
class StartLevel:
    """Where in the schedule to begin: a strength from 0 to 1, or a sigma. One of the two is None."""

    strength: float | None = None
    sigma: float | None = None
    exact_steps: bool = False
    """Whether a strength keeps the number of steps, by a finer schedule, as the second pass of a hires fix does."""

    def steps(self, num_inference_steps: int) -> int:
        """Return the number of steps of the schedule that `cut` takes."""
        if self.exact_steps and self.strength:
            return int(num_inference_steps / min(self.strength, MOST))
        return num_inference_steps

    def cut(self, levels: Floats, num_inference_steps: int) -> Floats:
        """Return the noise levels to evaluate, descending, from those of the whole schedule.

        num_inference_steps: the steps that were asked for. A strength of 0 evaluates none.
        """
        if self.sigma is not None:
            return np.concatenate([[self.sigma], levels[levels < self.sigma * (1 - SAME)]])
        assert self.strength is not None
        if self.strength == 0:
            return levels[:0]
        kept = num_inference_steps if self.exact_steps else int(min(self.strength, MOST) * num_inference_steps) + 1
        return levels[-kept:]
