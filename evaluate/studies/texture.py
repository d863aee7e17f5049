"""Texture of stained cells: specks against lines, power by region, and ragged outlines.

All scales are pixels of the picture that is measured. `morphology` measures both folders at the smaller of their sides,
so the figures of pictures of another size, or of pictures that were resized, are not comparable with these ones.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import scipy
import skimage
from numpy.typing import NDArray

from evaluate.studies.segmentation import Segmentation, optical_density

__all__ = ["DEFINITIONS", "LUMA", "TITLES", "blobness", "coherence", "power_db", "raggedness", "texture"]

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in luma (ITU-R BT.601)."""
SCALES = (0.8, 1.2, 1.8)
"""Standard deviations of the Gaussian before the Hessian, in pixels."""
GRADIENT, WINDOW = 0.7, 2.0
"""Standard deviations of the structure tensor's derivatives and of its window, in pixels. With 1.0 and 1.5 px the
window holds so few independent gradients that grain scores 0.44 to 0.55, which is closer to the score of lines."""
MARGIN = 4
"""Pixels that a region loses at its border: the outline of a nucleus is a line that no texture can outweigh."""
THIN = 2
"""The same for the power in cytoplasm, which is often too thin for MARGIN."""
LEAST = 50
"""Number of pixels below which a region is not measured."""
EMPTY = 0.1
"""Greatest optical density, sum of the three channels, of the background."""
RED_DIFFERENCE = 0.713
"""Factor of (red - luma) in the red difference Cr (ITU-R BT.601)."""
FINEST = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float64)
"""Second difference along both axes. Its response is greatest at 0.5 cycles per pixel on both axes."""
SMALLEST_POWER = 1e-2
"""Squared grey levels, -20 dB. The rounding to whole grey levels alone has 1/12."""
SMOOTHING = 1 / 32
"""Standard deviation of the Gaussian that smooths an outline, as a share of the side."""

REGIONS = ("nucleus", "cytoplasm", "background")
TITLES = {
    **{f"blobness_{scale:g}": f"blobness at {scale:g} px" for scale in SCALES},
    "nucleus_coherence": "nucleus, coherence",
    **{
        f"{region}_{channel}_{band}": f"{region}, {words} at {band} (dB)"
        for region in REGIONS
        for channel, words in (("luma", "luma"), ("red", "red difference"))
        for band in ("0.25", "0.5")
    },
    "ragged_outline": "ragged share of the outline",
}
"""Short name of each measure, for plots and tables."""

DEFINITIONS = {
    "blobness": "inside nucleus and cytoplasm, of the Hessian of green at a scale in pixels: the sum of the smaller "
    "eigenvalue's magnitude where both have one sign, divided by the sum of the larger one's magnitude. Specks and "
    "grain score high, threads low; Gaussian grain of any spectrum scores about 0.15",
    "coherence": "(l1 - l2) / (l1 + l2) of the eigenvalues of the structure tensor of green in the nucleus (derivatives"
    " at 0.7 px, window 2 px), weighted by l1 + l2: 0 without direction, 1 for parallel lines",
    "luma or red difference at 0.25 or 0.5 (dB)": "10 log10 of the mean power near this frequency in cycles per pixel, "
    "in squared grey levels per unit of noise gain: white noise of variance v has 10 log10(v). The difference of two "
    "means is synthetic relative to real",
    "ragged share of the outline": "1 - (P'^2 / A') / (P^2 / A), with perimeter P and area A of the cell's mask, and P'"
    " and A' of the mask under a Gaussian of 1/32 of the side: about 0 for a smooth outline",
}


def texture(picture: Picture, found: Segmentation) -> dict[str, float]:
    """Return the measures of TITLES of a segmented picture, (S, S, 3) uint8 RGB.

    A measure is NaN if its region has fewer than 50 pixels that are at least 4 pixels away from its border. For the
    power in cytoplasm 2 pixels suffice.
    """
    rgb = picture.astype(np.float64)
    green, luma = rgb[..., 1], rgb @ LUMA
    channels = {"luma": luma, "red": RED_DIFFERENCE * (rgb[..., 0] - luma)}
    nucleus = scipy.ndimage.binary_erosion(found.nucleus, iterations=MARGIN)
    stained = nucleus | scipy.ndimage.binary_erosion(found.cytoplasm, iterations=MARGIN)
    measured = {f"blobness_{scale:g}": blobness(green, stained, scale) for scale in SCALES}
    measured["nucleus_coherence"] = coherence(green, nucleus)
    inside = dict(
        zip(
            REGIONS,
            (nucleus, scipy.ndimage.binary_erosion(found.cytoplasm, iterations=THIN), _background(picture, found)),
            strict=True,
        )
    )
    for channel, values in channels.items():
        for band, powers in (("0.25", _near_quarter(values)), ("0.5", _near_half(values))):
            for region, mask in inside.items():
                measured[f"{region}_{channel}_{band}"] = _db(powers, mask)
    measured["ragged_outline"] = raggedness(found.cell)
    return {name: measured[name] for name in TITLES}


def blobness(values: Floats, mask: Mask, scale: float) -> float:
    """Return how much the structures of `values` (S, S) inside a mask (S, S) are dots rather than lines, 0 to 1.

    The Hessian is that of the values under a Gaussian of `scale` pixels. A line bends across itself alone, so its
    smaller eigenvalue is about 0. A dot bends in both directions with one sign.
    """
    if mask.sum() < LEAST:
        return np.nan
    yy, xx, xy = (scipy.ndimage.gaussian_filter(values, scale, order=order) for order in ((2, 0), (0, 2), (1, 1)))
    middle, spread = np.abs(yy + xx) / 2, np.hypot((yy - xx) / 2, xy)
    return _ratio(np.maximum(middle - spread, 0)[mask].sum(), (middle + spread)[mask].sum())


def coherence(values: Floats, mask: Mask) -> float:
    """Return how much the gradients of `values` (S, S) inside a mask (S, S) share one direction, 0 to 1.

    Structure tensor: Bigün and Granlund 1987. The coherence of each pixel is weighted by the tensor's trace.
    """
    if mask.sum() < LEAST:
        return np.nan
    y, x = (scipy.ndimage.gaussian_filter(values, GRADIENT, order=order) for order in ((1, 0), (0, 1)))
    yy, xx, xy = (scipy.ndimage.gaussian_filter(product, WINDOW) for product in (y * y, x * x, x * y))
    return _ratio(np.hypot(yy - xx, 2 * xy)[mask].sum(), (yy + xx)[mask].sum())


def power_db(values: Floats, mask: Mask) -> tuple[float, float]:
    """Return the power of `values` (S, S) in a mask (S, S) near 0.25 and near 0.5 cycles per pixel, in dB.

    White noise of variance v has 10 log10(v) at both.
    """
    return _db(_near_quarter(values), mask), _db(_near_half(values), mask)


def raggedness(mask: Mask) -> float:
    """Return the share of perimeter^2 / area of a mask (S, S) that a smoothing of its outline removes."""
    smooth = scipy.ndimage.gaussian_filter(mask.astype(np.float64), SMOOTHING * len(mask)) > 0.5
    if smooth.sum() < LEAST:
        return np.nan
    own, smoothed = (skimage.measure.perimeter_crofton(one, directions=4) ** 2 / one.sum() for one in (mask, smooth))
    return float(1 - smoothed / own)


def _ratio(part: float, whole: float) -> float:
    """A region without any structure has no ratio."""
    return float(part / whole) if whole > 0 else np.nan


def _background(picture: Picture, found: Segmentation) -> Mask:
    """Return the pixels that are MARGIN pixels away from any cell, so that the texture of red cells does not count."""
    density = scipy.ndimage.gaussian_filter(optical_density(picture).sum(-1), 1)
    return ~scipy.ndimage.binary_dilation((density > EMPTY) | found.cell, iterations=MARGIN)


def _near_quarter(values: Floats) -> Floats:
    return np.asarray(_band(values) ** 2 / _gain())


def _band(values: Floats) -> Floats:
    """Difference of two Gaussians, whose response is greatest near 0.25 cycles per pixel."""
    return scipy.ndimage.gaussian_filter(values, 0.7) - scipy.ndimage.gaussian_filter(values, 1.2)


@cache
def _gain() -> float:
    """The power that white noise of variance 1 has after `_band`."""
    impulse = np.zeros((33, 33))
    impulse[16, 16] = 1
    return float((_band(impulse) ** 2).sum())


def _near_half(values: Floats) -> Floats:
    return np.asarray(scipy.ndimage.convolve(values, FINEST) ** 2 / (FINEST**2).sum())


def _db(powers: Floats, mask: Mask) -> float:
    if mask.sum() < LEAST:
        return np.nan
    return float(10 * np.log10(max(powers[mask].mean(), SMALLEST_POWER)))
