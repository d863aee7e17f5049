"""`morphology`: shapes and stain colours of real and of synthetic cells, as distributions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.stats import wasserstein_distance
from skimage.measure import label, regionprops

from engine.errors import RequestError
from evaluate.images import PictureFolder
from evaluate.studies.segmentation import Segmentation, optical_density, segment

__all__ = [
    "LARGEST",
    "SMALLEST",
    "TITLES",
    "Comparison",
    "Measures",
    "Morphology",
    "compare",
    "count_far",
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
"""Short names of the measures, for plots and tables; OD is optical density."""
FEWEST = 2
SMALLEST, LARGEST = 64, 512
"""Sides that the segmentation is meant for; larger pictures are made smaller."""


@dataclass(frozen=True)
class Measures:
    """What is measured of one picture. NaN where there is nothing to measure: all without a nucleus, the cytoplasm's
    colour without cytoplasm."""

    nucleus_area: float
    """Share of the picture's area, 0 to 1."""
    nucleus_eccentricity: float
    """Of the ellipse with the nucleus's second moments, 0 (circle) to 1 (line); lobes of one cell count as one body. In
    a field of cells the mean over connected nuclei, weighted by area."""
    nucleus_to_cell: float
    """The N:C ratio as nucleus / (nucleus + cytoplasm), 0 to 1; nucleus / cytoplasm has no bound where cytoplasm is
    scarce, and a few such cells would outweigh the rest."""
    nucleus_lobes: float
    """Number of parts that remain of the nuclei where they are thicker than half the thickest."""
    nucleus_red: float
    nucleus_green: float
    nucleus_blue: float
    """Mean optical density, -log10(I / I0), I0 the picture's background; the same for the cytoplasm."""
    cytoplasm_red: float
    cytoplasm_green: float
    cytoplasm_blue: float


@dataclass(frozen=True)
class Comparison:
    """One measure, real against synthetic; distances are Wasserstein's first, in the measure's unit."""

    real: tuple[float, ...]
    synthetic: tuple[float, ...]
    """The values of the pictures that have one, in the folders' order."""
    n: int
    """Values on each side of every distance."""
    distance: float
    """Mean over random draws of n real and n synthetic values."""
    interval: tuple[float, float]
    """90 % bootstrap interval of `distance`."""
    floor: float
    """Mean over the same draws of the distance of the n real values from n other real ones, which is chance alone."""
    floor_interval: tuple[float, float]
    """5th and 95th percentile over the draws."""
    real_sd: float
    distance_in_sd: float | None
    """`distance` in standard deviations of the real values, None where these are all equal."""
    floor_in_sd: float | None


@dataclass(frozen=True)
class Morphology:
    """All measures of two folders; `dataclasses.asdict` makes it JSON. A measure that fewer than four real or two
    synthetic pictures have is left out of `measures`."""

    measures: dict[str, Comparison]
    real_pictures: int
    synthetic_pictures: int
    real_without_nucleus: int
    synthetic_without_nucleus: int
    side: int
    """At which all were segmented, in pixels."""
    one_cell: bool


def measure(picture: Picture, *, one_cell: bool = True) -> Measures:
    """Measure one picture, (S, S, 3) uint8 RGB, segmented as `evaluate.studies.segmentation.segment` says."""
    found = segment(picture, one_cell=one_cell)
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
    regions = regionprops(found.nucleus.astype(np.uint8) if one_cell else label(found.nucleus))
    return float(np.average([region.eccentricity for region in regions], weights=[region.area for region in regions]))


def _lobes(found: Segmentation) -> float:
    depth = distance_transform_edt(found.nucleus)
    return float(label(depth > depth.max() / 2).max())


def measure_all(pictures: Iterable[Picture], *, one_cell: bool = True) -> dict[str, Floats]:
    """Each measure of all pictures, (N,) float64 with NaN as in `Measures`. pictures: (S, S, 3) uint8 RGB each."""
    rows = [asdict(measure(picture, one_cell=one_cell)) for picture in pictures]
    return {name: np.array([row[name] for row in rows]) for name in TITLES}


def compare(
    real: PictureFolder,
    synthetic: PictureFolder,
    *,
    one_cell: bool = True,
    splits: int = 20,
    resamples: int = 200,
    seed: int = 0,
) -> Morphology:
    """Measure both folders at the smaller of their sides, 512 at most, and compare each measure.

    Raises RequestError where fewer than four real or two synthetic pictures have a nucleus, since then nothing can be
    compared.
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
                fix="name a folder of stained cells, and say whether its pictures show one cell or many",
            )
    rng = np.random.default_rng(seed)
    measures = {}
    for name in TITLES:
        first, second = (value[name][np.isfinite(value[name])] for value in values)
        if len(first) >= 2 * FEWEST and len(second) >= FEWEST:
            measures[name] = _comparison(first, second, splits, resamples, rng)
    return Morphology(
        measures,
        real_pictures=len(real),
        synthetic_pictures=len(synthetic),
        real_without_nucleus=missing[0],
        synthetic_without_nucleus=missing[1],
        side=side,
        one_cell=one_cell,
    )


def count_far(measures: Iterable[Mapping[str, Any]]) -> int:
    """How many measures of a record lie more than three floors from the real ones."""
    return sum(one["distance"] > 3 * one["floor"] for one in measures)


def _comparison(real: Floats, synthetic: Floats, splits: int, resamples: int, rng: np.random.Generator) -> Comparison:
    """Both distances are of n values from n, so that they carry the same bias of a small sample."""
    n = min(len(real) // 2, len(synthetic))
    distances, floors = [], []
    for _ in range(splits):
        order = rng.permutation(real)
        distances.append(wasserstein_distance(order[:n], rng.permutation(synthetic)[:n]))
        floors.append(wasserstein_distance(order[:n], order[n : 2 * n]))
    distance, floor, sd = float(np.mean(distances)), float(np.mean(floors)), float(real.std(ddof=1))
    resampled = [wasserstein_distance(rng.choice(real, n), rng.choice(synthetic, n)) for _ in range(resamples)]
    # Values drawn twice make samples rougher and the distance larger; the shift takes that out.
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
