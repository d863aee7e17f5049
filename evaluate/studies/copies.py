"""`copies`: the distance of each synthetic picture to its nearest training picture.

Held-out real pictures, which were not trained on, show which distances are normal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import affine_transform
from scipy.sparse import csr_array
from scipy.stats import binomtest

from engine.progress import Progress, silent
from evaluate.images import PictureFolder, Pictures

__all__ = [
    "DEFINITIONS",
    "FEW",
    "Copies",
    "CopiesResults",
    "Nearest",
    "Pair",
    "describe",
    "find_copies",
    "nearest_training",
    "results_of",
]

SIDE = 16
"""Pictures are compared at this side, in pixels. It is coarse, so that blur changes little: otherwise a generator of
soft pictures would seem to copy."""
ANGLES = 24
ZOOMS = (1.0, 1.1, 1 / 1.1)
SHIFTS = (-1, 0, 1)
PERCENTILE = 1.0
FEW = 100
"""With fewer held-out pictures the first percentile is close to their minimum."""
ROWS = 512

DEFINITIONS = {
    "distance": f"sqrt(2 - 2 r), with r the correlation of two {SIDE} x {SIDE} RGB pictures within the inscribed disc,"
    f" after the mean of each channel is subtracted; r is the largest over {ANGLES} rotations, mirror images, shifts of"
    f" 1/{SIDE} of the side and zooms of 10 %. 0 is a copy; sqrt(2) means that nothing is in common",
    "threshold": "1st percentile of the distances of held-out real pictures to their nearest training picture",
    "copy": "a synthetic picture closer to its nearest training picture than the threshold",
    "copy rate": "share of copies; by definition about 1 % for real pictures that were not trained on",
}


@dataclass(frozen=True)
class Nearest:
    """The nearest training picture of each picture: distances (N,) in [0, sqrt(2)], and indices (N,)."""

    distances: NDArray[np.float64]
    indices: NDArray[np.intp]


@dataclass(frozen=True)
class Copies:
    """The distances of both folders, the threshold, and the copies among the synthetic pictures."""

    synthetic: Nearest
    held_out: Nearest
    threshold: float
    copies: NDArray[np.intp]
    """Indices of the synthetic pictures that are copies, nearest first."""
    rate: float
    rate_low: float
    rate_high: float
    """Ends of the rate's 90 % interval (Wilson)."""
    held_out_rate: float

    def closest(self, count: int) -> NDArray[np.intp]:
        """Return the indices of the `count` synthetic pictures with the smallest distances, nearest first."""
        return self.synthetic.distances.argsort(kind="stable")[:count]


@dataclass(frozen=True)
class Pair:
    """File names of a synthetic picture and its nearest training picture."""

    synthetic: str
    training: str
    distance: float


@dataclass(frozen=True)
class CopiesResults:
    """The results in a record of `copies`."""

    threshold: float
    rate: float
    rate_low: float
    rate_high: float
    held_out_rate: float
    copies: list[str]
    """File names, nearest first."""
    closest: list[Pair]
    distances: dict[str, list[float]]
    """Of `synthetic` and `held out`, in the order of the files, rounded."""


def find_copies(
    synthetic: PictureFolder, training: PictureFolder, held_out: PictureFolder, progress: Progress = silent
) -> Copies:
    """Compare every synthetic and every held-out picture with every training picture. Deterministic."""
    both = np.concatenate([_describe_folder(synthetic), _describe_folder(held_out)])
    nearest = nearest_training(both, _describe_folder(training), progress)
    found, reference = (
        Nearest(nearest.distances[part], nearest.indices[part])
        for part in (slice(len(synthetic)), slice(len(synthetic), None))
    )
    threshold = float(np.percentile(reference.distances, PERCENTILE))
    order = np.argsort(found.distances, kind="stable")
    copies = order[found.distances[order] < threshold]
    interval = binomtest(len(copies), len(synthetic)).proportion_ci(0.9, "wilson")
    return Copies(
        found,
        reference,
        threshold,
        copies,
        len(copies) / len(synthetic),
        float(interval.low),
        float(interval.high),
        float((reference.distances < threshold).mean()),
    )


def results_of(found: Copies, synthetic: PictureFolder, training: PictureFolder, pairs: int) -> CopiesResults:
    """Return the results with file names in place of indices, and the `pairs` closest pairs."""
    return CopiesResults(
        threshold=found.threshold,
        rate=found.rate,
        rate_low=found.rate_low,
        rate_high=found.rate_high,
        held_out_rate=found.held_out_rate,
        copies=[synthetic.files[place].name for place in found.copies],
        closest=[
            Pair(
                synthetic.files[place].name,
                training.files[found.synthetic.indices[place]].name,
                float(found.synthetic.distances[place]),
            )
            for place in found.closest(pairs)
        ],
        distances={"synthetic": _rounded(found.synthetic), "held out": _rounded(found.held_out)},
    )


def _rounded(nearest: Nearest) -> list[float]:
    return [round(float(value), 5) for value in nearest.distances]


def describe(pictures: Iterable[Pictures]) -> NDArray[np.float32]:
    """Return pictures, (S, S, 3) uint8 each, as they are compared: (N, SIDE^2, 3) float32, row by row."""
    size = (SIDE, SIDE)
    small = [np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BOX), np.float32) for one in pictures]
    return np.stack(small).reshape(len(small), -1, 3)


def _describe_folder(folder: PictureFolder) -> NDArray[np.float32]:
    return np.concatenate([describe(batch) for batch in folder.batches()])


def nearest_training(
    pictures: NDArray[np.float32], training: NDArray[np.float32], progress: Progress = silent
) -> Nearest:
    """Find the nearest training picture of each picture.

    pictures: (N, 256, 3), training: (M, 256, 3) float32, as `describe` returns them.
    """
    likeness = np.full(len(pictures), -1.0, np.float32)
    indices = np.zeros(len(pictures), np.intp)
    upright = _unit(pictures[:, _disc()])
    columns = np.ascontiguousarray(training.transpose(1, 0, 2)).reshape(SIDE**2, -1)
    variants = _variants()
    for done, variant in enumerate(variants, 1):
        turned = _unit((variant @ columns).reshape(-1, *training.shape[::2]).transpose(1, 0, 2))
        for start in range(0, len(pictures), ROWS):
            rows = slice(start, start + ROWS)
            found = upright[rows] @ turned.T
            best = found.argmax(1)
            values = found[np.arange(len(best)), best]
            better = values > likeness[rows]
            indices[rows] = np.where(better, best, indices[rows])
            likeness[rows] = np.where(better, values, likeness[rows])
        progress("nearest training picture", done, len(variants))
    return Nearest(np.sqrt(2 - 2 * np.clip(likeness.astype(np.float64), -1, 1)), indices)


def _unit(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, P, 3) -> (N, 3 P): subtract the mean of each channel and divide by the norm. A flat picture becomes zero."""
    flat = (pictures - pictures.mean(1, keepdims=True)).reshape(len(pictures), -1)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-3)


@cache
def _disc() -> NDArray[np.bool_]:
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    return np.asarray((x**2 + y**2 <= (SIDE / 2) ** 2).ravel())


@cache
def _variants() -> tuple[csr_array, ...]:
    """Return each rotation, mirror image, zoom and shift as a matrix (P, SIDE^2) from all pixels to the disc."""
    return tuple(_moves())


def _moves() -> Iterator[csr_array]:
    basis = np.eye(SIDE**2, dtype=np.float32).reshape(-1, SIDE, SIDE)
    centre = np.full(2, (SIDE - 1) / 2)
    for angle in np.arange(ANGLES) * 2 * np.pi / ANGLES:
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        for zoom in ZOOMS:
            matrix = turn / zoom
            offset = centre - matrix @ centre
            moved = np.stack([affine_transform(one, matrix, offset, order=1, mode="nearest") for one in basis])
            for mirrored in (moved, moved[:, :, ::-1]):
                for shift in ((dy, dx) for dy in SHIFTS for dx in SHIFTS):
                    yield csr_array(np.roll(mirrored, shift, (1, 2)).reshape(SIDE**2, -1)[:, _disc()].T)
