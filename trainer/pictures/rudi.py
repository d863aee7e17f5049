"""The augmentation of the thesis, with the quirks of Rudi 1.0.1 on Augmentor 0.2.12: rotate, distort, zoom.

This augmentation does not keep the size of the nucleus, which is diagnostic: the median area grows by a factor of 1.4.
It is here to repeat the thesis. These quirks are kept:

- An operation with probability p acts when round(u, 1) <= p, so 0.7 means 0.75.
- Angles are whole degrees. The largest part without empty corners is cut out of the rotated picture and stretched back.
- The distortion moves inner nodes of a grid by whole pixels.
- Pictures from JPEG files are compressed as JPEG again, at quality 75.

Unlike the original, this augmentation has a seed.
"""

from __future__ import annotations

import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["rudi"]

PROBABILITY = 0.7
MAX_ANGLE = 15
GRID = 8
MAGNITUDE = 5
ZOOM = (1.0, 1.2)
JPEG_QUALITY = 75


def rudi(picture: NDArray[np.uint8], rng: np.random.Generator, *, from_jpeg: bool = False) -> NDArray[np.uint8]:
    """Return an augmented (S, S, 3) uint8 RGB picture, compressed as JPEG if the source was a JPEG file."""
    image = Image.fromarray(picture)
    if _acts(rng):
        image = _rotate(image, int(rng.integers(1, MAX_ANGLE + 1)) * int(rng.choice([-1, 1])))
    if _acts(rng):
        image = _distort(image, rng)
    if _acts(rng):
        image = _zoom(image, round(float(rng.uniform(*ZOOM)), 2))
    if from_jpeg:
        buffer = io.BytesIO()
        image.save(buffer, format="JPEG", quality=JPEG_QUALITY)
        image = Image.open(buffer).convert("RGB")
    return np.asarray(image)


def _acts(rng: np.random.Generator) -> bool:
    return round(float(rng.uniform()), 1) <= PROBABILITY


def _rotate(image: Image.Image, degrees: int) -> Image.Image:
    """Return the rotated picture: its largest part without empty corners, stretched to the original size."""
    width, height = image.size
    turned = image.rotate(degrees, expand=True, resample=Image.Resampling.BICUBIC)
    angle = math.radians(abs(degrees))
    # The centred rectangle whose corners touch the sides of the rotated picture.
    across = math.sin(math.pi / 2 - angle)
    e = math.sin(angle) / across * (height - math.sin(angle) / across * width)
    e /= 1 - math.sin(angle) ** 2 / across**2
    b = height - e
    a = math.sin(angle) / across * b
    left, top = a, e * math.sin(angle) / math.sin(math.pi / 2)
    box = (round(left), round(top), round(turned.width - left), round(turned.height - top))
    return turned.crop(box).resize((width, height), Image.Resampling.BICUBIC)


def _distort(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the picture with the inner nodes of a grid moved by whole pixels in [-MAGNITUDE, MAGNITUDE]."""
    width, height = image.size
    xs = [round(width * i / GRID) for i in range(GRID + 1)]
    ys = [round(height * i / GRID) for i in range(GRID + 1)]
    nodes = np.array([[(x, y) for x in xs] for y in ys], int)
    nodes[1:-1, 1:-1] += rng.integers(-MAGNITUDE, MAGNITUDE + 1, size=(GRID - 1, GRID - 1, 2))
    mesh = []
    for row in range(GRID):
        for column in range(GRID):
            box = (xs[column], ys[row], xs[column + 1], ys[row + 1])
            corners = (
                nodes[row, column],
                nodes[row + 1, column],
                nodes[row + 1, column + 1],
                nodes[row, column + 1],
            )
            mesh.append((box, tuple(int(value) for corner in corners for value in corner)))
    return image.transform(image.size, Image.Transform.MESH, mesh, resample=Image.Resampling.BICUBIC)


def _zoom(image: Image.Image, factor: float) -> Image.Image:
    """Return the centre of the enlarged picture."""
    width, height = image.size
    large = image.resize((round(width * factor), round(height * factor)), Image.Resampling.BICUBIC)
    left, top = (large.width - width) // 2, (large.height - height) // 2
    return large.crop((left, top, left + width, top + height))
