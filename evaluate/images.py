"""Pictures as the encoders take them, every one decoded before it counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from engine.errors import RequestError
from engine.pictures import SUFFIXES, pictures_in, read_picture

__all__ = ["blur", "read_folder"]


def read_folder(folder: Path, size: int) -> NDArray[np.uint8]:
    """All pictures directly in a folder, in the order of their names, resized (Lanczos): (N, size, size, 3) uint8 RGB.

    Raises RequestError for an empty folder, an unreadable picture, or one that is not square.
    """
    files = pictures_in(folder) if folder.is_dir() else []
    if not files:
        raise RequestError(
            f"The picture folder {folder}",
            found="no picture directly in it" if folder.is_dir() else "no such folder",
            expected=f"the pictures of one class, files that end in {', '.join(SUFFIXES)}",
            mend="name the folder that holds the pictures themselves",
        )
    return np.stack([_read_square(path, size) for path in files])


def _read_square(path: Path, size: int) -> NDArray[np.uint8]:
    picture = read_picture(path)
    if picture.width != picture.height:
        raise RequestError(
            f"The picture {path}",
            found=f"{picture.width} x {picture.height} pixels",
            expected="a square, framed as the other folder's pictures are",
            mend="run `python -m trainer prepare` on the real pictures, as was done for training",
        )
    if picture.width != size:
        picture = picture.resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def blur(pictures: NDArray[np.uint8], share: float = 1 / 64) -> NDArray[np.uint8]:
    """Gaussian blur with a standard deviation of `share` of the side. (N, S, S, 3) uint8 -> the same."""
    sigma = share * pictures.shape[1]
    return gaussian_filter(pictures.astype(np.float32), (0, sigma, sigma, 0)).round().astype(np.uint8)
