"""`morphology`: distributions of shapes, stain colours and texture, of real and of synthetic cells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields

import numpy as np
import scipy
import skimage
from numpy.typing import NDArray

from engine.errors import RequestError
from evaluate.images import PictureFolder
from evaluate.studies import texture
from evaluate.studies.segmentation import Segmentation, optical_density, segment

__all__ = [
    "DEFINITIONS",
    "LARGEST",
    "SMALLEST",
    "TITLES",
    "Comparison",
    "Measures",
    "Morphology",
    "compare",
    "is_far",
    "measure",
    "measure_all",
]

Picture = NDArray[np.uint8]
Floats = NDArray[np.float64]

TITLES = {
    "nucleus_area": "nucleus area (share of picture)",
    "nucleus_eccentricity": "nucleus eccentricity",
    "nucleus_to_cell": "nucleus / cell area",
    "nucleus_lobes": "nuclear lobes",
    "nucleus_red": "nucleus, red OD",
    "nucleus_green": "nucleus, green OD",
    "nucleus_blue": "nucleus, blue OD",
    "cytoplasm_red": "cytoplasm, red OD",
    "cytoplasm_green": "cytoplasm, green OD",
    "cytoplasm_blue": "cytoplasm, blue OD",
}
"""Short name of each measure, for plots and tables. OD is optical density."""
FEWEST = 2
SMALLEST, LARGEST = 64, 512
"""The segmentation is made for these sides, in pixels. Larger pictures are reduced."""

DEFINITIONS = {
    "nucleus": "the darkest stained part of a cell, by Otsu's threshold of optical density; the lobes of one cell are "
    "one nucleus",
    "OD": "optical density -log10(I / I0) of a channel, with I0 the background of the same picture",
    "nucleus / cell area": "the N:C ratio as nucleus / (nucleus + cytoplasm)",
    "nuclear lobes": "number of parts of the nuclei that are thicker than half the thickest part",
    "distance": "first Wasserstein distance between N real and N synthetic values, mean over random draws, in the"
    " measure's unit and in standard deviations (sd) of the real values",
    "floor": "the same distance between N real and N other real values",
    "interval": "90 % bootstrap interval over pictures, moved by the difference of the means",
    "without a nucleus": "pictures in which no nucleus was found; no measure includes them",
    **texture.DEFINITIONS,
}


@dataclass(frozen=True)
class Measures:
    """The measures of one picture. Without a nucleus all are NaN; without cytoplasm its colours are NaN."""

    nucleus_area: float
    """Share of the picture's area, 0 to 1."""
    nucleus_eccentricity: float
    """Eccentricity of the ellipse with the same second moments, 0 (circle) to 1 (line). The lobes of one cell count as
    one body. In a field of cells it is the mean over connected nuclei, weighted by area."""
    nucleus_to_cell: float
    """The N:C ratio as nucleus / (nucleus + cytoplasm), 0 to 1. The ratio nucleus / cytoplasm has no upper bound, and a
    few cells with little cytoplasm would outweigh the rest."""
    nucleus_lobes: float
    """Number of parts of the nuclei that are thicker than half the thickest part."""
    nucleus_red: float
    nucleus_green: float
    nucleus_blue: float
    """Mean optical density -log10(I / I0), with I0 the background of the picture. The same for the cytoplasm."""
    cytoplasm_red: float
    cytoplasm_green: float
    cytoplasm_blue: float


@dataclass(frozen=True)
class Comparison:
    """One measure, real against synthetic. Distances are first Wasserstein distances, in the measure's unit."""

    real: tuple[float, ...]
    synthetic: tuple[float, ...]
    """The finite values, in the order of the pictures."""
    n: int
    """Number of values on each side of every distance."""
    distance: float
    """Mean over random draws of n real and n synthetic values."""
    interval: tuple[float, float]
    """90 % bootstrap interval of `distance`."""
    floor: float
    """Mean over the same draws of the distance between the n real values and n other real ones: chance alone."""
    floor_interval: tuple[float, float]
    """5th and 95th percentile over the draws."""
    real_sd: float
    distance_in_sd: float | None
    """`distance` in standard deviations of the real values. None if all real values are equal."""
    floor_in_sd: float | None


@dataclass(frozen=True)
class Morphology:
    """The results in a record of `morphology`.

    `measures` and `texture` omit a measure that fewer than four real or two synthetic pictures have.
    """

    measures: dict[str, Comparison]
    real_pictures: int
    synthetic_pictures: int
    real_without_nucleus: int
    synthetic_without_nucleus: int
    side: int
    """Side at which all pictures were segmented, in pixels."""
    one_cell: bool
    texture: dict[str, Comparison] = field(default_factory=dict)
    """The measures of `evaluate.studies.texture`. Records of older versions have none."""


def measure(picture: Picture, *, one_cell: bool = True) -> Measures:
    """Return the measures of one picture, (S, S, 3) uint8 RGB, segmented by `evaluate.studies.segmentation.segment`."""
    return _shape(picture, segment(picture, one_cell=one_cell), one_cell)


def _shape(picture: Picture, found: Segmentation, one_cell: bool) -> Measures:
    if not found.nucleus.any():
        return Measures(*[np.nan] * len(fields(Measures)))
    density = optical_density(picture)
    return Measures(
        float(found.nucleus.mean()),
        _eccentricity(found, one_cell),
        float(found.nucleus.sum() / found.cell.sum()),
        _lobes(found),
        *density[found.nucleus].mean(0).tolist(),
        *(density[found.cytoplasm].mean(0).tolist() if found.cytoplasm.any() else [np.nan] * 3),
    )


def _eccentricity(found: Segmentation, one_cell: bool) -> float:
    regions = skimage.measure.regionprops(
        found.nucleus.astype(np.uint8) if one_cell else skimage.measure.label(found.nucleus)
    )
    return float(np.average([region.eccentricity for region in regions], weights=[region.area for region in regions]))


def _lobes(found: Segmentation) -> float:
    depth = scipy.ndimage.distance_transform_edt(found.nucleus)
    return float(skimage.measure.label(depth > depth.max() / 2).max())


def measure_all(pictures: Iterable[Picture], *, one_cell: bool = True) -> dict[str, Floats]:
    """Return each measure of pictures, (S, S, 3) uint8 RGB each: (N,) float64.

    The measures are those of `Measures` and of `evaluate.studies.texture`. All are NaN without a nucleus.
    """
    rows = [_measures_of(picture, one_cell) for picture in pictures]
    return {name: np.array([row[name] for row in rows]) for name in (*TITLES, *texture.TITLES)}


def _measures_of(picture: Picture, one_cell: bool) -> dict[str, float]:
    found = segment(picture, one_cell=one_cell)
    if not found.nucleus.any():
        return dict.fromkeys((*TITLES, *texture.TITLES), np.nan)
    return asdict(_shape(picture, found, one_cell)) | texture.texture(picture, found)


def compare(
    real: PictureFolder,
    synthetic: PictureFolder,
    *,
    one_cell: bool = True,
    splits: int = 20,
    resamples: int = 200,
    seed: int = 0,
) -> Morphology:
    """Measure both folders at the smaller of their sides, at most 512 pixels, and compare each measure.

    Raises RequestError if fewer than four real or two synthetic pictures have a nucleus.
    """
    side = min(real.side, synthetic.side, LARGEST)
    values = [
        measure_all((picture for batch in folder.batches(side) for picture in batch), one_cell=one_cell)
        for folder in (real, synthetic)
    ]
    missing = [int(np.isnan(value["nucleus_area"]).sum()) for value in values]
    for folder, without, fewest in zip((real, synthetic), missing, (2 * FEWEST, FEWEST), strict=True):
        if len(folder) - without < fewest:
            raise RequestError(
                f"The pictures in {folder.path}",
                found=f"a nucleus in {len(folder) - without} of {len(folder)}",
                expected=f"a stained nucleus in at least {fewest}"
                + (", in the middle of the picture" if one_cell else ""),
                fix="name a folder of stained cells, and set --cells to what its pictures show",
            )
    rng = np.random.default_rng(seed)
    comparisons = {}
    for name in values[0]:
        first, second = (value[name][np.isfinite(value[name])] for value in values)
        if len(first) >= 2 * FEWEST and len(second) >= FEWEST:
            comparisons[name] = _comparison(first, second, splits, resamples, rng)
    return Morphology(
        {name: one for name, one in comparisons.items() if name in TITLES},
        real_pictures=len(real),
        synthetic_pictures=len(synthetic),
        real_without_nucleus=missing[0],
        synthetic_without_nucleus=missing[1],
        side=side,
        one_cell=one_cell,
        texture={name: one for name, one in comparisons.items() if name in texture.TITLES},
    )


def is_far(distance: float, floor: float) -> bool:
    """Whether a measure of synthetic pictures is more than three floors away from the real ones."""
    return distance > 3 * floor


def _comparison(real: Floats, synthetic: Floats, splits: int, resamples: int, rng: np.random.Generator) -> Comparison:
    """Both distances compare n values with n values, so that they have the same bias of a small sample."""
    n = min(len(real) // 2, len(synthetic))
    distances, floors = [], []
    for _ in range(splits):
        order = rng.permutation(real)
        distances.append(scipy.stats.wasserstein_distance(order[:n], rng.permutation(synthetic)[:n]))
        floors.append(scipy.stats.wasserstein_distance(order[:n], order[n : 2 * n]))
    distance, floor, sd = float(np.mean(distances)), float(np.mean(floors)), float(real.std(ddof=1))
    resampled = [
        scipy.stats.wasserstein_distance(rng.choice(real, n), rng.choice(synthetic, n)) for _ in range(resamples)
    ]
    # Values that are drawn twice increase the distance. The shift removes this bias.
    low, high = np.maximum(np.percentile(resampled, [5, 95]) - np.mean(resampled) + distance, 0)
    floor_low, floor_high = np.percentile(floors, [5, 95])
    return Comparison(
        real=tuple(real.tolist()),
        synthetic=tuple(synthetic.tolist()),
        n=n,
        distance=distance,
        interval=(float(low), float(high)),
        floor=floor,
        floor_interval=(float(floor_low), float(floor_high)),
        real_sd=sd,
        distance_in_sd=distance / sd if sd > 0 else None,
        floor_in_sd=floor / sd if sd > 0 else None,
    )
