"""The blocks of JPEG, which storage left in the photographs, for drawn pictures.

A convolution does the same at each place, so no refiner can draw blocks. Pictures therefore take the way of the
photographs: enlarged to the size at which those were stored, divided into blocks of 8 x 8 pixels, whose cosine
coefficients are rounded to multiples of the file's steps (ITU-T T.81, A.3.3 and A.3.4), and reduced again. Enlarging
and reducing are Pillow's Lanczos filter, with which photographs are prepared.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.JpegImagePlugin import JpegImageFile, get_sampling
from scipy.fft import dct
from torch import nn

from engine.errors import RequestError

__all__ = ["Jpeg", "JpegGrid", "jpeg_of"]

BLOCK = 8
LEVELS = 127.5
"""Grey levels per unit of pictures in [-1, 1]."""
MIDDLE = 128
"""The grey level that is 0 before the cosine transform (ITU-T T.81, A.3.1)."""
TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
"""RGB to brightness, blue difference and red difference (ITU-T T.871, 7)."""
LOBES = 3
SOFTNESS = 0.25
"""Deviation of the blur, in steps, under which the rounding has its gradient."""
LARGEST_SCALE = 64


@dataclass(frozen=True)
class JpegGrid:
    """Where the blocks lie in pictures. The constructor raises ValueError for values without a meaning."""

    scale: float
    """Stored pixels per pixel of a picture."""
    left: float
    """Stored pixels from the left edge of a picture to the next edge of blocks, in [0, 8)."""
    top: float

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            highest = LARGEST_SCALE if name == "scale" else BLOCK
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < highest:
                raise ValueError(f"jpeg.{name} {value!r} instead of a number in [0, {highest})")
        if self.scale * LARGEST_SCALE < 1:
            raise ValueError(f"jpeg.scale {self.scale!r} instead of at least 1/{LARGEST_SCALE}")


class Jpeg(nn.Module):
    """Stores pictures as JPEG, and opens them again. `steps` are (3, 8, 8), in grey levels, by colour and frequency."""

    def __init__(self, grid: JpegGrid) -> None:
        super().__init__()
        self.grid = grid
        self.steps: torch.Tensor
        self.register_buffer("steps", torch.ones(3, BLOCK, BLOCK))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return pictures (B, 3, H, W), not clipped, of pictures (B, 3, H, W) in [-1, 1], which are clipped.

        A layer that rounds needs exact coefficients, so autocast does not reach it.
        """
        with torch.autocast(pictures.device.type, enabled=False):
            return self._stored(pictures.float())

    def _stored(self, pictures: torch.Tensor) -> torch.Tensor:
        to_ycc = torch.tensor(TO_YCC).to(pictures)
        clipped = pictures.clamp(-1, 1)
        planes = torch.einsum("kc,bchw->bkhw", to_ycc, clipped * LEVELS + (LEVELS - MIDDLE))
        (rows, from_rows), (columns, from_columns) = (
            (torch.from_numpy(matrix).to(pictures) for matrix in _matrices(side, self.grid.scale, first))
            for side, first in zip(pictures.shape[2:], (self.grid.top, self.grid.left), strict=True)
        )
        found = rows @ planes @ columns.T
        steps = self.steps.to(pictures).repeat(1, len(rows) // BLOCK, len(columns) // BLOCK)
        change = from_rows @ (_rounded(found / steps) * steps - found) @ from_columns.T
        return clipped + torch.einsum("ck,bkhw->bchw", to_ycc.inverse(), change) / LEVELS


def _rounded(values: torch.Tensor) -> torch.Tensor:
    """Round. The gradient is that of a staircase that is blurred by SOFTNESS, because the exact one is zero."""
    nearest = values.detach().round()
    fraction = values.detach() - nearest
    bells = [torch.exp(-(((fraction + side) / SOFTNESS) ** 2) / 2) for side in (-0.5, 0.5)]
    slope = sum(bells) / (SOFTNESS * math.sqrt(2 * math.pi))
    return nearest + (values - values.detach()) * slope


@lru_cache(maxsize=16)
def _matrices(side: int, scale: float, first: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the matrices (8 N, side) from pixels to the coefficients of N blocks, and (side, 8 N) back.

    The blocks begin one block before `first` and cover the picture. Beyond its edges a picture repeats its last pixels.
    """
    blocks = math.ceil((side * scale - first) / BLOCK) + 1
    stored = first - BLOCK + np.arange(BLOCK * blocks) + 0.5
    pixels = np.arange(side) + 0.5
    inside = (stored > 0) & (stored < side * scale)
    enlarge = _lanczos((np.clip(stored / scale, 0.5, side - 0.5)[:, None] - pixels) * min(1, scale))
    reduce = _lanczos((stored / scale - pixels[:, None]) * min(1, scale)) * inside
    cosines = np.kron(np.eye(blocks), dct(np.eye(BLOCK), norm="ortho", axis=0))
    there = cosines @ (enlarge / enlarge.sum(1, keepdims=True))
    back = (reduce / reduce.sum(1, keepdims=True)) @ cosines.T
    return there.astype(np.float32), back.astype(np.float32)


def _lanczos(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.abs(x) < LOBES, np.sinc(x) * np.sinc(x / LOBES), 0.0)


def jpeg_of(path: Path, side: int, crop: float | None) -> Jpeg:
    """Return the JPEG of a file for pictures of `side` pixels that `trainer prepare` cuts out of such files.

    crop: share of the centre square that is kept, or None if it is unknown. Raises RequestError then, for another file,
    and for one whose colours are stored at a smaller size or which is turned when it is shown.
    """
    if crop is None:
        raise RequestError(
            "--stored-as",
            found="photographs without a record of their crop",
            expected="photographs that `trainer prepare` wrote, all with one --crop",
            fix="prepare the photographs, or leave --stored-as out",
        )
    try:
        with Image.open(path) as picture:
            found = _unsuitable(picture)
            stored = crop * min(picture.size)
            left, top = (round(-(length - stored) / 2 % BLOCK, 6) % BLOCK for length in picture.size)
            if found is None:
                assert isinstance(picture, JpegImageFile)
                tables = [picture.quantization[layer[3]] for layer in picture.layer]
                jpeg = Jpeg(JpegGrid(round(stored / side, 6), left, top))
                jpeg.steps.copy_(torch.tensor(tables).reshape(3, BLOCK, BLOCK))
                return jpeg
    except (OSError, ValueError) as error:
        found = f"{error}"
    raise RequestError(
        f"--stored-as {path}",
        found=found,
        expected="a JPEG of an RGB picture with all colours at full size",
        fix="name another photograph, or leave --stored-as out; the refiner then draws no blocks",
    )


def _unsuitable(picture: Image.Image) -> str | None:
    """Return why drawn pictures cannot get the blocks of a file, or None if they can."""
    if not isinstance(picture, JpegImageFile) or picture.mode != "RGB":
        return f"{picture.format} in the mode {picture.mode}"
    if get_sampling(picture) != 0:
        return "a JPEG whose colours are stored at a smaller size"
    if picture.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        return "a JPEG that is turned when it is shown"
    return None
