"""The quantiles of the beta distribution, which NumPy does not have."""

from __future__ import annotations

from math import exp, lgamma, log, log1p

__all__ = ["beta_quantile", "regularised_beta"]

TINY = 1e-300
SAME = 1e-16
BISECTIONS = 1100
"""Enough halvings to reach the smallest float64 from 1."""


def regularised_beta(x: float, a: float, b: float) -> float:
    """Return I_x(a, b), the probability that a number of Beta(a, b) is at most x, 0 <= x <= 1.

    The continued fraction of DLMF 8.17.22 is evaluated by Lentz's method. It converges fast below the mean; above it,
    I_x(a, b) = 1 - I_{1-x}(b, a) is used.
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - regularised_beta(1 - x, b, a)
    front = exp(a * log(x) + b * log1p(-x) - lgamma(a) - lgamma(b) + lgamma(a + b)) / a
    value, upper, lower = 1.0, 1.0, 0.0
    for m in range(200):
        # d_0 = 1; d_{2k} and d_{2k+1} are the two kinds of coefficients of DLMF 8.17.23.
        k = m // 2
        if m == 0:
            step = 1.0
        elif m % 2 == 0:
            step = k * (b - k) * x / ((a + 2 * k - 1) * (a + 2 * k))
        else:
            step = -(a + k) * (a + b + k) * x / ((a + 2 * k) * (a + 2 * k + 1))
        lower = 1 / ((1 + step * lower) or TINY)
        upper = (1 + step / upper) or TINY
        value *= upper * lower
        if m and abs(upper * lower - 1) < SAME:
            break
    return front * (value - 1)


def beta_quantile(probability: float, a: float, b: float) -> float:
    """Return the x at which regularised_beta(x, a, b) is the probability, 0 to 1, by bisection."""
    if probability <= 0 or probability >= 1:
        return float(probability >= 1)
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if regularised_beta(middle, a, b) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2
