"""The kernel distance between two samples: squared maximum mean discrepancy with a cubic kernel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["kernel_distance"]

Features = NDArray[np.floating]
ROWS = 1024
"""Number of rows of a kernel matrix that are in memory at once."""


def kernel_distance(first: Features, second: Features) -> float:
    """Return the unbiased estimate (U-statistic) of MMD^2 with k(x, y) = (x . y / D + 1)^3. It can be negative.

    Binkowski et al. 2018 (arXiv:1801.01401), equation 4. Their KID is this distance on Inception's features.
    first: (N1, D), second: (N2, D), N1, N2 >= 2, all pictures in one block.
    """
    x, y = first.astype(np.float64), second.astype(np.float64)
    return _mean_within(x) + _mean_within(y) - 2 * _sum_of_kernel(x, y) / (len(x) * len(y))


def _mean_within(sample: NDArray[np.float64]) -> float:
    of_itself = (((sample**2).sum(1) / sample.shape[1] + 1) ** 3).sum()
    return float((_sum_of_kernel(sample, sample) - of_itself) / (len(sample) * (len(sample) - 1)))


def _sum_of_kernel(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    blocks = (x[start : start + ROWS] @ y.T for start in range(0, len(x), ROWS))
    return float(sum(((block / x.shape[1] + 1) ** 3).sum() for block in blocks))
