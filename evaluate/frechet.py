"""The Fréchet distance of two samples' Gaussians, as an N x N problem."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["frechet_distance"]


def frechet_distance(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 sqrt(S1 S2)) (Dowson and Landau 1982; equation 2.25 of the thesis).

    first: (N1, D), second: (N2, D), N1, N2 >= 2; covariances are unbiased. tr sqrt(S1 S2) is the sum of the singular
    values of X1c X2c^T / sqrt((N1 - 1)(N2 - 1)) with centred X, exact at any rank, so nothing is added to S.
    """
    mean_first, mean_second = first.mean(0), second.mean(0)
    centred_first = (first - mean_first) / np.sqrt(len(first) - 1)
    centred_second = (second - mean_second) / np.sqrt(len(second) - 1)
    cross = np.linalg.svd(centred_first @ centred_second.T, compute_uv=False).sum()
    spread = (centred_first**2).sum() + (centred_second**2).sum()
    return float(((mean_first - mean_second) ** 2).sum() + spread - 2 * cross)
