"""The last part of a refiner that learned from photographs stored as JPEG: it gives pictures the blocks of JPEG.

Pictures are enlarged to the size at which the photographs were stored, the cosine coefficients of blocks of 8 x 8
pixels are rounded to multiples of the file's steps (ITU-T T.81, A.3.3 and A.3.4), and the result is reduced again. Both
changes of size are Lanczos filters of three lobes. The graph computes them, because it takes pictures of any size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import nn

__all__ = ["BLOCK", "Jpeg", "JpegGrid"]

BLOCK, LEVELS, MIDDLE, LOBES = 8, 127.5, 128, 3
TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
MOST_SCALE = 64


@dataclass(frozen=True)
class JpegGrid:
    """Where the blocks lie: stored pixels per pixel of a picture, and from its left and top edge to the next block."""

    scale: float
    left: float
    top: float

    @classmethod
    def from_json(cls, settings: dict[str, Any]) -> JpegGrid:
        """Return checked settings. Raises ValueError, KeyError or TypeError."""
        found = cls(*(float(settings[name]) for name in ("scale", "left", "top")))
        if not (1 / MOST_SCALE <= found.scale < MOST_SCALE and 0 <= found.left < BLOCK and 0 <= found.top < BLOCK):
            raise ValueError(f"jpeg {settings!r}")
        return found


class Jpeg(nn.Module):
    """Pictures (B, 3, H, W) float32 in [-1, 1], which are clipped -> pictures with blocks, float32, not clipped."""

    def __init__(self, grid: JpegGrid, steps: torch.Tensor) -> None:
        """steps: (3, 8, 8) in grey levels, by colour and frequency."""
        super().__init__()
        self.grid = grid
        self.steps: torch.Tensor
        self.cosines: torch.Tensor
        self.to_ycc: torch.Tensor
        self.to_rgb: torch.Tensor
        self.register_buffer("steps", steps)
        waves = (torch.arange(BLOCK) + 0.5) * torch.arange(BLOCK)[:, None] * (math.pi / BLOCK)
        norms = torch.full((BLOCK, 1), math.sqrt(2 / BLOCK)).index_fill(0, torch.tensor(0), math.sqrt(1 / BLOCK))
        self.register_buffer("cosines", waves.cos() * norms)
        self.register_buffer("to_ycc", torch.tensor(TO_YCC))
        self.register_buffer("to_rgb", torch.tensor(TO_YCC).inverse())

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Give pictures blocks."""
        clipped = pictures.clamp(-1, 1)
        # Matrices stand first in all products: those with weights behind them become products of 8 bits.
        to_ycc, to_rgb = self.to_ycc.float(), self.to_rgb.float()
        planes = (to_ycc @ (clipped * LEVELS + (LEVELS - MIDDLE)).flatten(2)).reshape(pictures.shape)
        rows, from_rows = self._matrices(pictures.shape[2], self.grid.top)
        columns, from_columns = self._matrices(pictures.shape[3], self.grid.left)
        found = rows @ planes @ columns.T
        steps = self.steps.float().repeat(1, rows.shape[0] // BLOCK, columns.shape[0] // BLOCK)
        change = from_rows @ ((found / steps).round() * steps - found) @ from_columns.T
        return clipped + (to_rgb @ change.flatten(2)).reshape(pictures.shape) / LEVELS

    def _matrices(self, side: int, first: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the matrices (8 N, side) from pixels to the coefficients of N blocks, and (side, 8 N) back."""
        scale, cosines = self.grid.scale, self.cosines.float()
        exact, before = Fraction(scale).limit_denominator(2**16), Fraction(first).limit_denominator(2**16)
        # Blocks that cover the picture, rounded up in whole numbers: a size is no number yet when the graph is made.
        unit = exact.denominator * before.denominator
        pixels_of = int(exact * unit)
        blocks = (side * pixels_of - int(before * unit) + BLOCK * unit - 1) // (BLOCK * unit) + 1
        stored = torch.arange(BLOCK * blocks) + (first - BLOCK + 0.5)
        pixels = torch.arange(side) + 0.5
        inside = ((stored > 0) & (stored < side * scale)).float()
        enlarge = _lanczos(((stored / scale).clamp(0.5, side - 0.5)[:, None] - pixels) * min(1, scale))
        reduce = _lanczos((stored / scale - pixels[:, None]) * min(1, scale)) * inside
        enlarge = enlarge / enlarge.sum(1, keepdim=True)
        reduce = reduce / reduce.sum(1, keepdim=True)
        there, back = (
            (cosines @ matrix.reshape(blocks, BLOCK, side)).reshape(BLOCK * blocks, side)
            for matrix in (enlarge, reduce.T)
        )
        return there, back.T


def _lanczos(x: torch.Tensor) -> torch.Tensor:
    """The kernel sinc(x) sinc(x / 3) between -3 and 3, by sines that no runtime divides by zero."""
    angle = torch.where(x.abs() < 1e-4, 1e-4, x) * math.pi
    return torch.where(x.abs() < LOBES, LOBES * angle.sin() * (angle / LOBES).sin() / angle.square(), 0.0)
