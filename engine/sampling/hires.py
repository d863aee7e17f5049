"""Hires fix: a second pass at a larger size, which begins at the enlarged result of the first pass.

The second pass evaluates as many steps as it was asked for: the tail of a schedule that is finer by 1 / strength, as in
AUTOMATIC1111's WebUI.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.sampling.start import StartLevel

__all__ = ["UPSCALERS", "Hires", "enlarged_latents", "enlarged_pictures"]

LATENT_FILTERS = {
    "latent": Image.Resampling.BILINEAR,
    "latent-bicubic": Image.Resampling.BICUBIC,
    "latent-nearest": Image.Resampling.NEAREST,
}
"""Filters that enlarge the latents. The bicubic one has a = -0.5, like the antialiased one of PyTorch."""
PICTURE_FILTERS = {"lanczos": Image.Resampling.LANCZOS, "nearest": Image.Resampling.NEAREST}
"""Filters that enlarge the decoded picture, which is then encoded again."""
UPSCALERS = (*LATENT_FILTERS, *PICTURE_FILTERS)


@dataclass(frozen=True)
class Hires:
    """The second pass of a request."""

    width: int
    height: int
    upscaler: str
    steps: int
    strength: float

    @property
    def level(self) -> StartLevel:
        """Where in the noise schedule the second pass begins."""
        return StartLevel(strength=self.strength, exact_steps=True)

    @property
    def needs_pictures(self) -> bool:
        """Whether the first pass is decoded and encoded again."""
        return self.upscaler in PICTURE_FILTERS


def enlarged_latents(latents: NDArray[np.float32], size: tuple[int, int], upscaler: str) -> NDArray[np.float32]:
    """Return latents (B, C, h, w) float32 at another size (width, height), each channel by itself."""
    return np.stack([np.stack([_resized(plane, size, LATENT_FILTERS[upscaler]) for plane in one]) for one in latents])


def enlarged_pictures(pictures: NDArray[np.uint8], size: tuple[int, int], upscaler: str) -> NDArray[np.uint8]:
    """Return pictures (B, H, W, 3) uint8 at another size (width, height)."""
    return np.stack([_resized(picture, size, PICTURE_FILTERS[upscaler]) for picture in pictures])


def _resized(values: NDArray[np.generic], size: tuple[int, int], kind: Image.Resampling) -> NDArray[np.generic]:
    return np.asarray(Image.fromarray(values).resize(size, kind))
