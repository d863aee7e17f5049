"""Small groups of measures, made by hand, that may give synthetic pictures away, such as gradients and colour.

`probe` asks of each group alone how well a linear classifier tells real from synthetic pictures with it.
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import scipy
from numpy.typing import NDArray

from evaluate.studies.morphology import measure
from evaluate.studies.texture import LUMA

__all__ = ["BANDS", "DEFINITIONS", "LATTICE_BANDS", "giveaways"]

Picture = NDArray[np.uint8]
Floats = NDArray[np.float64]

GRADIENT_EDGES = np.concatenate([[0], 2.0 ** np.arange(0, 6.5, 0.5), [np.inf]])
"""Limits of the classes of gradient magnitude, in grey levels per pixel."""
BANDS = 10
"""Number of rings of equal width between 0 and 0.5 cycles per pixel."""
OPPONENT = np.stack([LUMA, [0.5, -0.5, 0.0], [-0.25, -0.25, 0.5]])
"""Luma, red against green, and blue against both."""
LATTICE_BANDS = 12
"""Number of bands of equal width between 1/6 and 1/2 cycles per pixel."""
ROUNDING = 1 / 12
"""Variance of the rounding to whole grey levels."""
SHAPES = ("nucleus_area", "nucleus_eccentricity", "nucleus_to_cell", "nucleus_lobes")
STAINS = tuple(
    tuple(f"{region}_{channel}" for channel in ("red", "green", "blue")) for region in ("nucleus", "cytoplasm")
)

DEFINITIONS = {
    "gradients": "share of pixels in 14 classes of the gradient magnitude of luma, from below 1 to above 64 grey levels"
    " per pixel",
    "spectrum": "log10 of the mean power of luma in 10 rings of equal width, 0 to 0.5 cycles per pixel",
    "lattice": "how the contrast of neighbouring pixels repeats along rows and columns with periods of 2 to 6 px: "
    "log10 of the largest amplitude in each of 12 bands, in luma and two opponent colours. Networks that enlarge a "
    "picture by 2 leave such patterns, and so do the blocks of JPEG",
    "colour": "mean, standard deviation and skewness of each channel, correlations of the channels, and mean optical "
    "density of nucleus and cytoplasm in each channel",
    "shape": "nucleus area, nucleus eccentricity, N:C ratio and lobes, as `morphology` measures them",
}


def giveaways(picture: Picture, *, one_cell: bool = True) -> dict[str, Floats]:
    """Return the measures of each group of DEFINITIONS for a picture, (S, S, 3) uint8 RGB: one vector per group.

    Measures of a region that was not found are 0, and a further value says whether it was found, so that a linear
    classifier can choose what the missing ones count.
    """
    rgb = picture.astype(np.float64)
    luma = rgb @ LUMA
    found = asdict(measure(picture, one_cell=one_cell))
    return {
        "gradients": _gradients(luma),
        "spectrum": _spectrum(luma),
        "lattice": _lattice(rgb),
        "colour": np.concatenate([_moments(rgb), *(_known([found[name] for name in names]) for names in STAINS)]),
        "shape": _known([found[name] for name in SHAPES]),
    }


def _gradients(luma: Floats) -> Floats:
    """(S, S) -> (14,), which sums to 1. Gradients are differences of the neighbours on both sides, halved."""
    magnitude = np.hypot(*np.gradient(luma))
    return np.histogram(magnitude, GRADIENT_EDGES)[0] / magnitude.size


def _spectrum(luma: Floats) -> Floats:
    """(S, S) -> (BANDS,). A Hann window removes the jump between opposite borders."""
    side = len(luma)
    window = np.hanning(side)
    power = np.abs(np.fft.fft2((luma - luma.mean()) * np.outer(window, window))) ** 2 / side**2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    ring = (frequency * 2 * BANDS).astype(int)
    inside = ring < BANDS
    sums, counts = np.bincount(ring[inside], power[inside], BANDS), np.bincount(ring[inside], minlength=BANDS)
    # A picture below 20 pixels has empty rings. 1e-3 squared grey levels are far below the rounding noise of 1/12.
    return np.asarray(np.log10(sums / np.maximum(counts, 1) + 1e-3))


def _lattice(rgb: Floats) -> Floats:
    """(S, S, 3) -> (2 * 3 * LATTICE_BANDS,).

    The contrast of a row is the logarithm of the mean squared difference from the next row; likewise for columns.
    """
    colours = rgb @ OPPONENT.T
    steps = len(rgb) - 1
    window = np.hanning(steps)[:, None]
    # Zeros after the last value give each band several frequencies, also in a small picture.
    size = max(256, steps)
    frequency = np.fft.rfftfreq(size)
    band = np.floor((frequency - 1 / 6) * 3 * LATTICE_BANDS).clip(max=LATTICE_BANDS - 1)
    found = []
    for axis in (0, 1):
        contrast = np.log(np.square(np.diff(colours, axis=axis)).mean(1 - axis) + ROUNDING)
        amplitude = np.abs(np.fft.rfft((contrast - contrast.mean(0)) * window, size, axis=0)) / window.sum()
        found += [amplitude[band == i].max(0) for i in range(LATTICE_BANDS)]
    return np.asarray(np.log10(np.concatenate(found) + 1e-3))


def _moments(rgb: Floats) -> Floats:
    """(S, S, 3) -> (12,)."""
    values = rgb.reshape(-1, 3)
    centred = values - values.mean(0)
    sd = np.maximum(values.std(0), 1e-6)
    correlations = (centred / sd).T @ (centred / sd) / len(values)
    return np.concatenate([values.mean(0), sd, _skew(values), correlations[np.triu_indices(3, 1)]])


def _skew(values: Floats) -> Floats:
    """(P, 3) -> (3,). A channel of one value has no skewness and counts as 0."""
    spread = np.ptp(values, axis=0) > 0
    found = np.zeros(3)
    found[spread] = scipy.stats.skew(values[:, spread], axis=0)
    return found


def _known(values: list[float]) -> Floats:
    """Return the values, which are all known or all NaN, with 0 in place of NaN, and 1 if they are known, else 0."""
    given = np.array(values)
    return np.append(np.nan_to_num(given), float(np.isfinite(given).all()))
