"""Precision, recall, density and coverage: do synthetic pictures lie among the real ones, and real ones among the
synthetic ones?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import RequestError

__all__ = ["Manifold", "compare_manifolds"]

Features = NDArray[np.floating]
ROWS = 1024
"""Number of rows of a distance matrix that are in memory at once."""


@dataclass(frozen=True)
class Manifold:
    """Precision, recall and coverage lie in [0, 1]; density is about 1 for two samples of one distribution."""

    precision: float
    recall: float
    density: float
    coverage: float


def compare_manifolds(real: Features, fake: Features, k: int = 3, k_density: int = 5) -> Manifold:
    """Compare two samples by balls around each picture, which reach to its k-th neighbour in the same sample.

    Precision is the share of fake pictures inside a ball of a real one, and recall the share of real pictures inside a
    ball of a fake one (Kynkäänniemi et al. 2019, arXiv:1904.06991). The other two use k_density neighbours: density is
    the mean number of real balls around a fake picture, divided by k_density, and coverage is the share of real balls
    that contain a fake picture (Naeem et al. 2020, arXiv:2002.09797).

    real: (N1, D), fake: (N2, D), with N1 > k, N1 > k_density and N2 > k. Raises RequestError for fewer pictures.
    """
    if min(len(real) - max(k, k_density), len(fake) - k) < 1:
        raise RequestError(
            f"Precision and recall with k = {k}, density and coverage with k = {k_density}",
            found=f"{len(real)} real and {len(fake)} synthetic pictures",
            expected=f"at least {max(k, k_density) + 1} real and {k + 1} synthetic pictures",
            fix="add pictures",
        )
    reals, fakes = real.astype(np.float64), fake.astype(np.float64)
    real_radii, fake_radii = _radii(reals, sorted({k, k_density})), _radii(fakes, [k])[k]
    in_real = np.zeros(len(fakes), bool)
    holders = np.zeros(len(fakes))
    in_fake, covered = np.zeros((2, len(reals)), bool)
    for start in range(0, len(reals), ROWS):
        rows = slice(start, start + ROWS)
        distances = _distances(reals[rows], fakes)
        in_real |= (distances <= real_radii[k][rows, None]).any(0)
        in_fake[rows] = (distances <= fake_radii).any(1)
        within = distances < real_radii[k_density][rows, None]
        holders += within.sum(0)
        covered[rows] = within.any(1)
    return Manifold(
        *(float(value) for value in (in_real.mean(), in_fake.mean(), holders.mean() / k_density, covered.mean()))
    )


def _distances(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    squares = (x**2).sum(1)[:, None] + (y**2).sum(1) - 2 * x @ y.T
    return np.sqrt(np.maximum(squares, 0))


def _radii(sample: NDArray[np.float64], neighbours: list[int]) -> dict[int, NDArray[np.float64]]:
    """Return the distance of each picture to its k-th neighbour, for each k. Neighbour 0 is the picture itself."""
    parts = []
    for start in range(0, len(sample), ROWS):
        distances = _distances(sample[start : start + ROWS], sample)
        rows = np.arange(len(distances))
        distances[rows, start + rows] = 0
        parts.append(np.partition(distances, neighbours, axis=1)[:, neighbours])
    return dict(zip(neighbours, np.concatenate(parts).T, strict=True))
