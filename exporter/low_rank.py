"""Low-rank form of changed weights: the factors B and A of a change W -> W + B A, found from both weights.

A LoRA changes a weight by a matrix of low rank (Hu et al. 2021, arXiv:2106.09685). The singular values say which rank a
change has, so that the factors need no file of the adapter, and two adapters that were merged one after the other need
no rule of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Factors", "factorise"]

SLACK = 1.05
"""Largest error of W + B A, relative to what the rounding of W and of the wanted weight to float16 explains."""
ATTEMPTS = 3
"""How often a rank is raised because the rounding of the factors counts, too."""

LARGE = 512
"""Smallest side of a weight whose leading directions are looked for alone."""
TRIED_RANKS = (64, 320)
"""Numbers of these directions. A change of a higher rank has no factors."""
ITERATIONS = 2
HOPELESS = 100.0
"""A first pass that leaves out this multiple of the allowed energy, and HOPELESS_SHARE of all energy, ends a search."""
HOPELESS_SHARE = 1e-3

Matrix = NDArray[np.float32]
Directions = tuple[Matrix, Matrix, Matrix, NDArray[Any]]
"""U (m, k), the singular values S (k), V^T (k, n), and the energy of the change that a rank of 0 to k leaves out."""


@dataclass(frozen=True)
class Factors:
    """The factors of a change of a weight with `m` rows of `n` values, its first axis and all others."""

    b: NDArray[np.float16]
    """(m, rank)."""
    a: NDArray[np.float16]
    """(rank, n)."""

    @property
    def product(self) -> Matrix:
        """B A in float32, (m, n)."""
        return self.b.astype(np.float32) @ self.a.astype(np.float32)


def factorise(wanted: NDArray[Any], weight: NDArray[Any], known: Sequence[Factors] = ()) -> Factors | None:
    """Return the factors that turn a float16 weight into another one of the same shape, of two axes or more.

    The rank is the smallest one whose error is not above the rounding of both weights to float16, and 0 if they differ
    by no more. None if the factors would be as large as the weight.

    known: Factors of other classes for this weight. They are taken, or else one of both with another partner, if that
    is as near, so that classes share them. A hypernetwork that acts before the changed weight changes one of both.
    """
    rows = len(wanted)
    change = wanted.astype(np.float32).reshape(rows, -1) - weight.astype(np.float32).reshape(rows, -1)
    limit = np.sqrt((_rounding(wanted) + _rounding(weight)).sum())
    if np.linalg.norm(change) <= limit:
        return Factors(np.zeros((rows, 0), np.float16), np.zeros((0, change.shape[1]), np.float16))
    for found in known:
        for factors in (found, Factors(found.b, _partner(found.b, change)), _with_a(found.a, change)):
            if _near(factors, change, SLACK * limit):
                return factors
    directions = _leading(change, limit) if min(change.shape) >= LARGE else _all_directions(change)
    if directions is None:
        return None
    u, s, vt, left = directions
    rank = int(np.argmax(left <= limit**2))
    for tried in range(rank, rank + ATTEMPTS):
        if tried * sum(change.shape) >= change.size:
            return None
        root = np.sqrt(s[:tried])
        factors = Factors((u[:, :tried] * root).astype(np.float16), (root[:, None] * vt[:tried]).astype(np.float16))
        if _near(factors, change, SLACK * limit):
            return factors
    return None


def _all_directions(change: Matrix) -> Directions:
    u, s, vt = np.linalg.svd(change, full_matrices=False)
    return u, s, vt, np.append(np.cumsum((s**2)[::-1])[::-1], 0.0)


def _leading(change: Matrix, limit: float) -> Directions | None:
    """Return the directions with the largest singular values that leave out no more than the limit.

    They are found by subspace iteration (Halko, Martinsson and Tropp 2011, arXiv:0909.4061), because a large weight
    takes seconds for all of them. None if the change is not of a low rank.
    """
    most = (change.size - 1) // sum(change.shape)
    # The energy that is left out is a small difference of large numbers.
    exact = change.astype(np.float64)
    energy = float((exact**2).sum())
    for tried in dict.fromkeys(min(rank, most) for rank in TRIED_RANKS):
        found = np.random.default_rng(0).standard_normal((change.shape[1], tried), np.float32)
        for _ in range(ITERATIONS):
            found = change.T @ np.linalg.qr(change @ found)[0]
            if energy - float((found**2).sum()) > HOPELESS * limit**2 + HOPELESS_SHARE * energy:
                break
        else:
            basis = np.linalg.qr(exact @ found)[0]
            u, s, vt = np.linalg.svd(basis.T @ exact, full_matrices=False)
            left = np.append(energy, energy - np.cumsum(s**2))
            if left[-1] <= limit**2:
                return (basis @ u).astype(np.float32), s.astype(np.float32), vt.astype(np.float32), left
    return None


def _rounding(weight: NDArray[Any]) -> Matrix:
    """Return the variance of the rounding error of float16 values: spacing^2 / 12."""
    spacing = np.spacing(np.abs(weight.astype(np.float16))).astype(np.float32)
    return (spacing**2 / 12).astype(np.float32)


def _partner(b: NDArray[np.float16], change: Matrix) -> NDArray[np.float16]:
    """Return the A with which the factors with this B are nearest to a change."""
    found: NDArray[np.float16] = np.linalg.lstsq(b.astype(np.float32), change, rcond=None)[0].astype(np.float16)
    return found


def _with_a(a: NDArray[np.float16], change: Matrix) -> Factors:
    """Return the factors with this A that are nearest to a change."""
    return Factors(np.ascontiguousarray(_partner(a.T, change.T).T), a)


def _near(factors: Factors, change: Matrix, limit: float) -> bool:
    return bool(np.linalg.norm(factors.product - change) <= limit)
