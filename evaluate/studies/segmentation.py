"""Nucleus and cytoplasm, told apart by the stain; scikit-image's thresholds and morphology.

Two kinds of picture are known: one white blood cell among red ones (May-Grünwald-Giemsa), and a field of many cells
(an aspirate). All lengths are shares of the picture's side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import (
    binary_erosion,
    binary_fill_holes,
    distance_transform_edt,
    gaussian_filter,
    gaussian_gradient_magnitude,
    median_filter,
)
from skimage.filters import threshold_multiotsu, threshold_otsu
from skimage.measure import label
from skimage.morphology import disk, isotropic_closing, isotropic_opening
from skimage.segmentation import mark_boundaries, watershed

__all__ = ["Segmentation", "optical_density", "overlay", "segment"]

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

PURPLE = 0.05
"""Optical density, red less blue, that chromatin has at least; red cells, eosin and shadows have less."""
FAINTEST = 0.022
"""Optical density (the cytoplasm's combination) below which nothing is called cytoplasm."""
REACH = 0.25
"""The one cell of a picture has some of its nucleus within this share of the side from the centre."""


@dataclass(frozen=True)
class Segmentation:
    """Two disjoint masks, (S, S) bool; both empty where no nucleus was found."""

    nucleus: Mask
    cytoplasm: Mask

    @property
    def cell(self) -> Mask:
        """(S, S) bool, nucleus and cytoplasm."""
        return self.nucleus | self.cytoplasm


@dataclass(frozen=True)
class _Scope:
    cytoplasm: tuple[float, float, float]
    """What of the red, green and blue optical density adds up to cytoplasm."""
    grain: float
    """What is smaller belongs to the texture of a nucleus."""
    neck: float
    """Half the width of the bridges at which touching cells are cut."""


# Haemoglobin absorbs blue, which cytoplasm hardly does; its weight leaves red cells near zero.
ONE_CELL = _Scope(cytoplasm=(0.5, 0.5, -1.3), grain=1 / 45, neck=1 / 14)
# Eosin absorbs green alone; without green, collagen and the proteins of a cyst stay dark and cells do not.
FIELD = _Scope(cytoplasm=(1.0, 0.0, -1.0), grain=1 / 100, neck=1 / 40)


def optical_density(picture: Picture) -> Floats:
    """-log10(I / I0) by Beer and Lambert, I0 the picture's own background: the median of Otsu's light class.

    (S, S, 3) uint8 RGB -> (S, S, 3) float64, about 0 in the background, at most 2.4. Black counts as 1 of 255.
    """
    density = -np.log10(np.maximum(picture, 1) / 255)
    total = density.sum(-1)
    return np.asarray(density - np.median(density[total <= threshold_otsu(total)], axis=0))


def segment(picture: Picture, *, one_cell: bool = True) -> Segmentation:
    """Find the nucleus and the cytoplasm of the cell in the middle or, with `one_cell=False`, of all cells.

    (S, S, 3) uint8 RGB, S of 64 to 512. The lobes of one cell's nucleus are one nucleus. A platelet has none, but its
    granules stain like one and are taken for it.
    """
    scope = ONE_CELL if one_cell else FIELD
    density = optical_density(picture)
    nucleus = _nuclei(density, scope)
    cell = _cells(density, nucleus, scope) if nucleus.any() else nucleus
    if one_cell and nucleus.any():
        cell = _central(cell, nucleus)
    return Segmentation(nucleus & cell, cell & ~nucleus)


def _nuclei(density: Floats, scope: _Scope) -> Mask:
    """Chromatin absorbs red as well as green, and less blue; eosin only green, haemoglobin blue too."""
    side = len(density)
    grain = scope.grain * side
    chromatin = median_filter(density[..., :2].min(-1), footprint=disk(max(1, round(grain))))
    purple = gaussian_filter(density[..., 0] - density[..., 2], grain / 2) > PURPLE
    mask = purple & (chromatin > _steepest(chromatin, purple, grain / 2))
    mask = isotropic_opening(mask, grain / 2)
    small = int(4 * grain**2)
    return _without_small(~_without_small(~mask, small), small)


def _without_small(mask: Mask, area: int) -> Mask:
    """As skimage's remove_small_objects, whose parameters changed their names between versions."""
    pieces = label(mask)
    keep = np.bincount(pieces.ravel()) >= area
    keep[0] = False
    return np.asarray(keep[pieces])


def _steepest(values: Floats, purple: Mask, scale: float) -> float:
    """The threshold whose outline has the steepest edge, between Otsu's for two classes and the upper one for three.

    Otsu's two take a dark cytoplasm for nucleus, and the three run through the texture of a nucleus that has hardly
    any cytoplasm; a true edge is steeper than either. What is not purple counts as blank, so that neither red cells nor
    the texture of a background make up a class where nuclei are few.
    """
    candidates = np.where(purple, values, 0)
    try:
        low, high = threshold_otsu(candidates), threshold_multiotsu(candidates, classes=3)[1]
    except ValueError:  # fewer than three values, so no cell
        return float(values.max())
    slope = gaussian_gradient_magnitude(values, scale)

    def steepness(threshold: float) -> float:
        mask = values > threshold
        outline = mask & ~binary_erosion(mask, border_value=1)
        return float(slope[outline].mean()) if outline.any() else 0.0

    return max(np.linspace(low, high, 9).tolist(), key=steepness)


def _cells(density: Floats, nucleus: Mask, scope: _Scope) -> Mask:
    """What is at least half as stained as typical cytoplasm, in pieces that hold a nucleus."""
    side = len(density)
    stain = gaussian_filter(density @ np.array(scope.cytoplasm), side / 100)
    if scope is ONE_CELL:
        distance = distance_transform_edt(~nucleus)
        typical = stain[(distance > side / 64) & (distance < side / 20)]
    else:
        typical = stain[~nucleus]
        typical = typical[typical >= threshold_otsu(typical)]
    amount = float(np.median(typical)) if typical.size else 0.0
    mask = (stain > max(FAINTEST, amount / 2)) | nucleus
    mask = binary_fill_holes(isotropic_closing(mask, side / 64))
    pieces = label(isotropic_opening(mask, scope.neck * side) | nucleus)
    return np.isin(pieces, np.unique(pieces[nucleus]))


def _central(cells: Mask, nuclei: Mask) -> Mask:
    """The cell with the most nucleus near the centre, parted from its neighbours; empty where there is none."""
    side = len(cells)
    # Lobes of one nucleus lie closer together than the nuclei of two cells.
    nucleus_of = label(isotropic_closing(nuclei, side / 16))
    cell_of = watershed(-distance_transform_edt(cells), nucleus_of, mask=cells)
    y, x = (np.mgrid[:side, :side] + 0.5) / side - 0.5
    found = np.bincount(cell_of[nuclei & (np.hypot(y, x) < REACH)])
    return np.asarray(cell_of == found.argmax()) if found.size else np.zeros_like(cells)


def overlay(picture: Picture, segmentation: Segmentation) -> Picture:
    """The picture with the cell outlined in green and the nucleus in yellow, for a human's eye; (S, S, 3) uint8."""
    marked = mark_boundaries(picture, segmentation.cell.astype(np.uint8), color=(0, 1, 0), mode="inner")
    marked = mark_boundaries(marked, segmentation.nucleus.astype(np.uint8), color=(1, 1, 0), mode="inner")
    return np.asarray((marked * 255).round(), np.uint8)
