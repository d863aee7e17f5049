"""Search for pictures that are the same or nearly so, by the correlation of small grey copies in all symmetries."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["NEAR", "Look", "Pair", "look_at", "similar_pairs"]

NEAR = 0.96
"""Two pictures count as near-duplicates from this correlation of their small copies. A copy of a cell that was
compressed, resized or brightened has a correlation above 0.998. Two cells of one class (blood cells, phantoms) have a
correlation below 0.9."""
SIDE = 24


@dataclass(frozen=True)
class Look:
    """What a picture is compared by, so that the picture itself need not stay in memory."""

    path: Path
    small: NDArray[np.float64]
    """Small grey copy, (SIDE, SIDE)."""
    sha256: str
    """Hash of the shape and the pixels."""


@dataclass(frozen=True)
class Pair:
    """Two pictures and their likeness. 1 means that all pixels are equal."""

    one: Path
    other: Path
    likeness: float


def look_at(path: Path, picture: NDArray[np.uint8]) -> Look:
    """Return the look of a (S, S, 3 or 4) uint8 picture."""
    grey = Image.fromarray(picture[..., :3]).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    digest = hashlib.sha256(f"{picture.shape}".encode() + np.ascontiguousarray(picture).data)
    return Look(path, np.asarray(grey, np.float64), digest.hexdigest())


def similar_pairs(pictures: Sequence[Look], others: Sequence[Look] | None = None) -> list[Pair]:
    """Return pairs of similar pictures, most similar first: in one set, or with `others`."""
    right = pictures if others is None else others
    if not pictures or not right:
        return []
    turned = np.stack([[_standard(symmetry) for symmetry in _symmetries(look.small)] for look in right])
    pairs = []
    for i, look in enumerate(pictures):
        likeness = (turned.reshape(len(right), 8, -1) @ _standard(look.small).ravel()).max(axis=1)
        for j in np.flatnonzero(likeness >= NEAR).tolist():
            if others is None and j <= i:
                continue
            same = look.sha256 == right[j].sha256
            pairs.append(Pair(look.path, right[j].path, 1.0 if same else min(float(likeness[j]), 0.9999)))
    return sorted(pairs, key=lambda pair: -pair.likeness)


def _standard(small: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the picture with zero mean and unit norm. A picture of one colour is similar to nothing."""
    centred = small - small.mean()
    norm = np.linalg.norm(centred)
    return centred / norm if norm > 1e-9 else centred


def _symmetries(small: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    turns = [np.rot90(small, quarter) for quarter in range(4)]
    return [*turns, *(np.fliplr(turn) for turn in turns)]
