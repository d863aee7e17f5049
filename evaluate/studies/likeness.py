"""How alike two pictures are under rotation, mirroring, shift and zoom: the measure of `copies`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy
from numpy.typing import NDArray
from PIL import Image

from engine.progress import Progress, silent
from evaluate.images import PictureFolder, Pictures

__all__ = [
    "DISTANCE",
    "Nearest",
    "describe",
    "describe_folder",
    "distances_to_own",
    "nearest_training",
]

SIDE = 16
"""Pictures are compared at this side, in pixels. It is coarse, so that blur changes little: otherwise a generator of
soft pictures would seem to copy."""
ANGLES = 24
ZOOMS = (1.0, 1.1, 1 / 1.1)
SHIFTS = (-1, 0, 1)
ROWS = 512
DISTANCE = (
    f"sqrt(2 - 2 r), with r the correlation of two {SIDE} x {SIDE} RGB pictures within the inscribed disc,"
    f" after the mean of each channel is subtracted; r is the largest over {ANGLES} rotations, mirror images, shifts of"
    f" 1/{SIDE} of the side and zooms of 10 %. 0 is a copy; sqrt(2) means that nothing is in common"
)
"""Definition of the distance."""


@dataclass(frozen=True)
class Nearest:
    """The nearest training picture of each picture: distances (N,) in [0, sqrt(2)], and indices (N,)."""

    distances: NDArray[np.float64]
    indices: NDArray[np.intp]


def describe(pictures: Iterable[Pictures]) -> NDArray[np.float32]:
    """Return pictures, (S, S, 3) uint8 each, as they are compared: (N, SIDE^2, 3) float32, row by row."""
    size = (SIDE, SIDE)
    small = [np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BOX), np.float32) for one in pictures]
    return np.stack(small).reshape(len(small), -1, 3)


def describe_folder(folder: PictureFolder) -> NDArray[np.float32]:
    """Return all pictures of a folder as `describe` does."""
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
    return Nearest(_distance(likeness), indices)


def distances_to_own(
    pictures: NDArray[np.float32], initials: NDArray[np.float32], progress: Progress = silent
) -> NDArray[np.float64]:
    """Return the distance of each picture to the initial picture in the same place, (N,) in [0, sqrt(2)].

    pictures, initials: (N, 256, 3) float32, as `describe` returns them.
    """
    likeness = np.full(len(pictures), -1.0, np.float32)
    upright = _unit(pictures[:, _disc()])
    different, place = np.unique(initials, axis=0, return_inverse=True)
    columns = np.ascontiguousarray(different.transpose(1, 0, 2)).reshape(SIDE**2, -1)
    variants = _variants()
    for done, variant in enumerate(variants, 1):
        turned = _unit((variant @ columns).reshape(-1, *different.shape[::2]).transpose(1, 0, 2))
        likeness = np.maximum(likeness, np.einsum("np,np->n", upright, turned[place.ravel()]))
        progress("own initial picture", done, len(variants))
    return _distance(likeness)


def _distance(likeness: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(2 - 2 * np.clip(likeness.astype(np.float64), -1, 1)))


def _unit(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, P, 3) -> (N, 3 P): subtract the mean of each channel and divide by the norm. A flat picture becomes zero."""
    flat = (pictures - pictures.mean(1, keepdims=True)).reshape(len(pictures), -1)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-3)


@cache
def _disc() -> NDArray[np.bool_]:
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    return np.asarray((x**2 + y**2 <= (SIDE / 2) ** 2).ravel())


@cache
def _variants() -> tuple[scipy.sparse.csr_array, ...]:
    """Return each rotation, mirror image, zoom and shift as a matrix (P, SIDE^2) from all pixels to the disc."""
    return tuple(_moves())


def _moves() -> Iterator[scipy.sparse.csr_array]:
    basis = np.eye(SIDE**2, dtype=np.float32).reshape(-1, SIDE, SIDE)
    centre = np.full(2, (SIDE - 1) / 2)
    for angle in np.arange(ANGLES) * 2 * np.pi / ANGLES:
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        for zoom in ZOOMS:
            matrix = turn / zoom
            offset = centre - matrix @ centre
            moved = np.stack(
                [scipy.ndimage.affine_transform(one, matrix, offset, order=1, mode="nearest") for one in basis]
            )
            for mirrored in (moved, moved[:, :, ::-1]):
                for shift in ((dy, dx) for dy in SHIFTS for dx in SHIFTS):
                    yield scipy.sparse.csr_array(np.roll(mirrored, shift, (1, 2)).reshape(SIDE**2, -1)[:, _disc()].T)
