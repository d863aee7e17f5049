"""The Fréchet distance between the Gaussians of two samples. The cost depends on the smaller of N and D."""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray

__all__ = ["frechet_distance"]

Features = NDArray[np.floating]


def frechet_distance(first: Features, second: Features) -> float:
    """Return |m1 - m2|^2 + tr(S1 + S2 - 2 sqrt(S1 S2)) (Dowson and Landau 1982; equation 2.25 of the thesis).

    first: (N1, D), second: (N2, D), N1, N2 >= 2. The covariances S are unbiased. tr sqrt(S1 S2) is the sum of the
    singular values of X1c X2c^T / sqrt((N1 - 1)(N2 - 1)) with centred X. This is exact at any rank: no ridge is needed.
    """
    samples = [sample.astype(np.float64) for sample in (first, second)]
    means = [sample.mean(0) for sample in samples]
    roots = [_root(sample - sample.mean(0)) / np.sqrt(len(sample) - 1) for sample in samples]
    cross = scipy.linalg.svdvals(roots[0] @ roots[1].T, overwrite_a=True, check_finite=False).sum()
    spread = sum((root**2).sum() for root in roots)
    return float(((means[0] - means[1]) ** 2).sum() + spread - 2 * cross)


def _root(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, D) -> (min(N, D), D) with the same X^T X. The R of X = Q R gives the same singular values as X."""
    if len(centred) <= centred.shape[1]:
        return centred
    triangle = scipy.linalg.qr(centred, mode="r", check_finite=False)[0]
    return np.asarray(triangle[: centred.shape[1]], np.float64)
