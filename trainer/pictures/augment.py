"""Augmentation that keeps what a diagnosis depends on: the area of nuclei, and a stain within the range of slides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

__all__ = ["augment"]


def augment(picture: NDArray[np.uint8], rng: np.random.Generator, *, flip: bool = True) -> NDArray[np.uint8]:
    """Return the picture rotated by any angle, mirrored if allowed, distorted elastically, with jittered colours.

    picture and result: (S, S, 3) uint8 RGB. A fourth channel gets the same geometry but no jitter. There is no zoom.

    One resampling (cubic, mirrored borders) does the whole geometry. The map is a rotation or reflection, with
    determinant +-1, plus a smooth displacement of 0.6 % of the side. The displacement has no divergence, so the map
    keeps areas to first order.
    """
    size = picture.shape[0]
    angle, mirror = rng.uniform(0, 2 * np.pi), rng.choice([-1.0, 1.0])
    mirror = mirror if flip else 1.0
    centre = (size - 1) / 2
    # The displacement comes before the rotation. Only then the determinant of the whole map equals det(I + grad d).
    y, x = np.mgrid[0:size, 0:size] - centre + _displacement(size, rng)
    rotated_y = np.cos(angle) * y + np.sin(angle) * x * mirror
    rotated_x = -np.sin(angle) * y + np.cos(angle) * x * mirror
    source = np.stack([rotated_y, rotated_x]) + centre
    channels = [
        map_coordinates(picture[..., c].astype(np.float32), source, order=3, mode="mirror")
        for c in range(picture.shape[2])
    ]
    moved = np.clip(np.stack(channels, -1), 0, 255)
    stained = _jitter_stain(moved[..., :3], rng)
    return np.concatenate([stained, np.uint8(moved[..., 3:] + 0.5)], axis=-1)


def _displacement(size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the curl (d psi / dx, -d psi / dy) of a smooth random stream function: (2, S, S) pixels, no divergence."""
    stream = gaussian_filter(rng.standard_normal((size, size)), 0.12 * size, mode="wrap")
    along_y, along_x = np.gradient(stream)
    field = np.stack([along_x, -along_y])
    return np.asarray(0.006 * size * field / field.std())


def _jitter_stain(picture: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Scale each channel's optical density by 5 % and the light by 2 % (standard deviations)."""
    density = -np.log(np.clip(picture, 1, 255) / 255)
    density *= 1 + 0.05 * rng.standard_normal(3)
    light = 255 * (1 + 0.02 * rng.standard_normal())
    return np.asarray(np.clip(light * np.exp(-density) + 0.5, 0, 255), np.uint8)
