"""How large a cell stands in its picture, measured by its nucleus.

The nucleus is the part that a blue or purple stain makes dark. Red light passes through red blood cells and is absorbed
by nuclei, so the red channel separates them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trainer.pictures.deep import open_picture
from trainer.pictures.folders import centre_square, find_pictures

__all__ = ["SIDE", "Shares", "measure_shares", "nucleus_share", "shares_of_files"]

SIDE = 128
"""Pictures are measured at this size, so that a large picture costs no more than a small one."""
CENTRE = 0.2
"""A nucleus reaches into the disc of this radius, relative to the side of the picture, around the centre."""
SMOOTHING, OPENINGS = 1.0, 2
"""Standard deviation in pixels of the smoothing, and the number of openings that remove thin parts."""


@dataclass(frozen=True)
class Shares:
    """Share of the picture that the nucleus covers, over a set of pictures."""

    low: float
    """5th percentile."""
    median: float
    high: float
    """95th percentile."""


def nucleus_share(picture: NDArray[np.uint8]) -> float:
    """Return the share, in [0, 1], of a picture (S, S, 3 or 4) uint8 that the nucleus in its centre covers.

    The threshold is Otsu's (1979). Dark parts that do not reach the centre, such as neighbouring cells, do not count.
    """
    red = ndimage.gaussian_filter(picture[..., 0].astype(np.float64), SMOOTHING)
    dark = ndimage.binary_opening(red <= _otsu(red), iterations=OPENINGS)
    parts, _ = ndimage.label(dark)
    side = len(picture)
    rows, columns = np.mgrid[:side, :side] - (side - 1) / 2
    inside = np.unique(parts[(parts > 0) & (np.hypot(rows, columns) < CENTRE * side)])
    return float(np.isin(parts, inside).mean()) if len(inside) else 0.0


def _otsu(values: NDArray[np.float64]) -> float:
    """Return the grey level that splits the values so that the variance between the two halves is largest."""
    shares = np.histogram(values, 256, (0, 256))[0] / values.size
    below, moment = shares.cumsum(), (shares * np.arange(256)).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (moment[-1] * below - moment) ** 2 / (below * (1 - below))
    return float(np.nan_to_num(between, posinf=0.0).argmax())


def measure_shares(pictures: Iterable[NDArray[np.uint8]]) -> Shares | None:
    """Return the shares of squares (S, S, 3) uint8, or None if no picture shows a nucleus in its centre."""
    found = [share for share in map(nucleus_share, pictures) if share > 0]
    if not found:
        return None
    low, median, high = np.quantile(found, (0.05, 0.5, 0.95))
    return Shares(float(low), float(median), float(high))


def shares_of_files(folder: Path, crop: float = 1.0) -> dict[str, Shares | None]:
    """Return the shares of the source pictures of each class, each cropped to its centre. Raises RequestError."""
    return {
        name: measure_shares(centre_square(open_picture(path), SIDE, crop) for path in paths)
        for name, paths in find_pictures(folder).items()
    }
