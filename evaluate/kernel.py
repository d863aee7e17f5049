"""The kernel distance of two samples: squared maximum mean discrepancy with a cubic kernel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["kernel_distance"]


def kernel_distance(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """The unbiased estimate (U-statistic) of MMD^2 with k(x, y) = (x . y / D + 1)^3; it may be negative.

    Binkowski et al. 2018 (arXiv:1801.01401), equation 4, whose KID takes Inception's features.
    first: (N1, D), second: (N2, D), N1, N2 >= 2, all pictures in one block.
    """

    def kernel(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)

    def mean_off_diagonal(matrix: NDArray[np.float64]) -> float:
        return float((matrix.sum() - np.trace(matrix)) / (len(matrix) * (len(matrix) - 1)))

    within = mean_off_diagonal(kernel(first, first)) + mean_off_diagonal(kernel(second, second))
    return within - 2 * float(kernel(first, second).mean())
