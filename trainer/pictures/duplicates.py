"""Search for pictures that are the same or nearly so, by the correlation of small grey copies in all symmetries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["NEAR", "Pair", "similar_pairs"]

NEAR = 0.96
"""Two pictures count as near-duplicates from this correlation of their small copies. A copy of a cell that was
compressed, resized or brightened has a correlation above 0.998. Two cells of one class (blood cells, phantoms) have a
correlation below 0.9."""
SIDE = 24


@dataclass(frozen=True)
class Pair:
    """Two pictures and their likeness. 1 means that all pixels are equal."""

    one: Path
    other: Path
    likeness: float


def similar_pairs(
    pictures: Sequence[tuple[Path, NDArray[np.uint8]]], others: Sequence[tuple[Path, NDArray[np.uint8]]] | None = None
) -> list[Pair]:
    """Return pairs of similar (S, S, 3 or 4) uint8 pictures, most similar first: in one set, or with `others`."""
    left = [_small(picture) for _, picture in pictures]
    right = left if others is None else [_small(picture) for _, picture in others]
    names = pictures if others is None else others
    if not left or not right:
        return []
    turned = np.stack([[_standard(symmetry) for symmetry in _symmetries(small)] for small in right])
    pairs = []
    for i, small in enumerate(left):
        likeness = (turned.reshape(len(right), 8, -1) @ _standard(small).ravel()).max(axis=1)
        for j in np.flatnonzero(likeness >= NEAR).tolist():
            if others is None and j <= i:
                continue
            same = np.array_equal(pictures[i][1], names[j][1])
            pairs.append(Pair(pictures[i][0], names[j][0], 1.0 if same else min(float(likeness[j]), 0.9999)))
    return sorted(pairs, key=lambda pair: -pair.likeness)


def _small(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    grey = Image.fromarray(picture[..., :3]).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(grey, np.float64)


def _standard(small: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the picture with zero mean and unit norm. A picture of one colour is similar to nothing."""
    centred = small - small.mean()
    norm = np.linalg.norm(centred)
    return centred / norm if norm > 1e-9 else centred


def _symmetries(small: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    turns = [np.rot90(small, quarter) for quarter in range(4)]
    return [*turns, *(np.fliplr(turn) for turn in turns)]
