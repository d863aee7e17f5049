"""Initial noise: a picture is (class, seed), so every seed has a generator of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_SEED", "initial_noise"]

MAX_SEED = 2**63 - 1


def initial_noise(seeds: Sequence[int], shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Standard normal noise, (len(seeds), *shape) float32, drawn in float64 by NumPy's PCG64 of each seed."""
    drawn = [np.random.Generator(np.random.PCG64(seed)).standard_normal(shape) for seed in seeds]
    return np.stack(drawn).astype(np.float32)
