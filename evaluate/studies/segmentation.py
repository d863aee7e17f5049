"""Masks of nucleus and cytoplasm, found by their stain with the thresholds and morphology of scikit-image.

There are two kinds of picture: one white blood cell among red ones (May-Grünwald-Giemsa), and a field of many cells (an
aspirate). All lengths are shares of the picture's side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
import skimage
from numpy.typing import NDArray

__all__ = ["Segmentation", "optical_density", "overlay", "segment"]

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

PURPLE = 0.05
"""Least optical density, red minus blue, of chromatin. Red cells, eosin and shadows have less."""
FAINTEST = 0.022
"""Least optical density of cytoplasm, in the combination of channels that `_Scope.cytoplasm` gives."""
REACH = 0.25
"""In a picture of one cell, part of the nucleus is closer to the centre than this share of the side."""


@dataclass(frozen=True)
class Segmentation:
    """Two disjoint masks, (S, S) bool. Both are empty if no nucleus was found."""

    nucleus: Mask
    cytoplasm: Mask

    @property
    def cell(self) -> Mask:
        """Nucleus and cytoplasm together, (S, S) bool."""
        return self.nucleus | self.cytoplasm


@dataclass(frozen=True)
class _Scope:
    """Parameters for one kind of picture. Lengths are shares of the side."""

    cytoplasm: tuple[float, float, float]
    """Weights of the red, green and blue optical density whose sum shows cytoplasm."""
    grain: float
    """Smaller details are the texture of a nucleus."""
    neck: float
    """Half the width of the bridges at which touching cells are cut."""


# Haemoglobin absorbs blue and cytoplasm hardly does, so that red cells come out near zero.
ONE_CELL = _Scope(cytoplasm=(0.5, 0.5, -1.3), grain=1 / 45, neck=1 / 14)
# Eosin absorbs only green. Without green, collagen and the proteins of a cyst stay near zero and cells do not.
FIELD = _Scope(cytoplasm=(1.0, 0.0, -1.0), grain=1 / 100, neck=1 / 40)


def optical_density(picture: Picture) -> Floats:
    """Return -log10(I / I0) after Beer and Lambert, with I0 the background of the picture.

    The background is the median of the light class of Otsu's threshold. (S, S, 3) uint8 RGB -> (S, S, 3) float64, about
    0 in the background, at most 2.4. Intensity 0 counts as 1.
    """
    density = -np.log10(np.maximum(picture, 1) / 255)
    total = density.sum(-1)
    return np.asarray(density - np.median(density[total <= skimage.filters.threshold_otsu(total)], axis=0))


def segment(picture: Picture, *, one_cell: bool = True) -> Segmentation:
    """Find the nucleus and the cytoplasm of the cell in the middle or, with `one_cell=False`, of all cells.

    picture: (S, S, 3) uint8 RGB, S from 64 to 512. The lobes of one cell's nucleus are one nucleus. A platelet has no
    nucleus, but its granules have the stain of a nucleus and are found as one.
    """
    scope = ONE_CELL if one_cell else FIELD
    density = optical_density(picture)
    nucleus = _nuclei(density, scope)
    cell = _cells(density, nucleus, scope) if nucleus.any() else nucleus
    if one_cell and nucleus.any():
        cell = _central(cell, nucleus)
    return Segmentation(nucleus & cell, cell & ~nucleus)


def _nuclei(density: Floats, scope: _Scope) -> Mask:
    """Return the mask of chromatin, which absorbs red and green and less blue.

    Eosin absorbs only green, and haemoglobin absorbs blue too.
    """
    side = len(density)
    grain = scope.grain * side
    chromatin = scipy.ndimage.median_filter(
        density[..., :2].min(-1), footprint=skimage.morphology.disk(max(1, round(grain)))
    )
    purple = scipy.ndimage.gaussian_filter(density[..., 0] - density[..., 2], grain / 2) > PURPLE
    mask = purple & (chromatin > _steepest(chromatin, purple, grain / 2))
    mask = skimage.morphology.isotropic_opening(mask, grain / 2)
    small = int(4 * grain**2)
    return _without_small(~_without_small(~mask, small), small)


def _without_small(mask: Mask, area: int) -> Mask:
    """Same as remove_small_objects of scikit-image, whose parameters have other names in other versions."""
    pieces = skimage.measure.label(mask)
    keep = np.bincount(pieces.ravel()) >= area
    keep[0] = False
    return np.asarray(keep[pieces])


def _steepest(values: Floats, purple: Mask, scale: float) -> float:
    """Return the threshold whose outline has the steepest edge.

    The candidates lie between Otsu's threshold for two classes and the upper one for three. The first can count dark
    cytoplasm as nucleus. The second can cut through the texture of a nucleus that has hardly any cytoplasm. A true edge
    is steeper than both. Pixels that are not purple count as 0, so that red cells and the texture of the background do
    not become a class of their own if there are few nuclei.
    """
    candidates = np.where(purple, values, 0)
    try:
        low, high = (
            skimage.filters.threshold_otsu(candidates),
            skimage.filters.threshold_multiotsu(candidates, classes=3)[1],
        )
    except ValueError:  # fewer than three different values: there is no cell
        return float(values.max())
    slope = scipy.ndimage.gaussian_gradient_magnitude(values, scale)

    def steepness(threshold: float) -> float:
        mask = values > threshold
        outline = mask & ~scipy.ndimage.binary_erosion(mask, border_value=1)
        return float(slope[outline].mean()) if outline.any() else 0.0

    return max(np.linspace(low, high, 9).tolist(), key=steepness)


def _cells(density: Floats, nucleus: Mask, scope: _Scope) -> Mask:
    """Return the pieces that contain a nucleus and have at least half the stain of typical cytoplasm."""
    side = len(density)
    stain = scipy.ndimage.gaussian_filter(density @ np.array(scope.cytoplasm), side / 100)
    if scope is ONE_CELL:
        distance = scipy.ndimage.distance_transform_edt(~nucleus)
        typical = stain[(distance > side / 64) & (distance < side / 20)]
    else:
        typical = stain[~nucleus]
        typical = typical[typical >= skimage.filters.threshold_otsu(typical)]
    amount = float(np.median(typical)) if typical.size else 0.0
    mask = (stain > max(FAINTEST, amount / 2)) | nucleus
    mask = scipy.ndimage.binary_fill_holes(skimage.morphology.isotropic_closing(mask, side / 64))
    pieces = skimage.measure.label(skimage.morphology.isotropic_opening(mask, scope.neck * side) | nucleus)
    return np.isin(pieces, np.unique(pieces[nucleus]))


def _central(cells: Mask, nuclei: Mask) -> Mask:
    """Return the cell with the most nucleus near the centre, cut from its neighbours. Empty if there is none."""
    side = len(cells)
    # The lobes of one nucleus are closer together than the nuclei of two cells.
    nucleus_of = skimage.measure.label(skimage.morphology.isotropic_closing(nuclei, side / 16))
    cell_of = skimage.segmentation.watershed(-scipy.ndimage.distance_transform_edt(cells), nucleus_of, mask=cells)
    y, x = (np.mgrid[:side, :side] + 0.5) / side - 0.5
    found = np.bincount(cell_of[nuclei & (np.hypot(y, x) < REACH)])
    return np.asarray(cell_of == found.argmax()) if found.size else np.zeros_like(cells)


def overlay(picture: Picture, segmentation: Segmentation) -> Picture:
    """Return the picture with the cell outlined in green and the nucleus in yellow, (S, S, 3) uint8."""
    marked = skimage.segmentation.mark_boundaries(
        picture, segmentation.cell.astype(np.uint8), color=(0, 1, 0), mode="inner"
    )
    marked = skimage.segmentation.mark_boundaries(
        marked, segmentation.nucleus.astype(np.uint8), color=(1, 1, 0), mode="inner"
    )
    return np.asarray((marked * 255).round(), np.uint8)
