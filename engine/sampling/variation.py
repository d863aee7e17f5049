"""Variations of a seed: its first noise is mixed with that of other seeds, or drawn at another size.

Both follow AUTOMATIC1111's WebUI, so that with CUDA's noise its variation seeds give the same noise here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.sampling.noise import NoiseSource, Stream

__all__ = ["Variation", "VariedNoise", "centred", "slerp"]

PARALLEL = 1e-4
"""Sine of the angle below which two columns count as parallel: the quotient of sines is not exact there."""
Noises = NDArray[np.float32]


@dataclass(frozen=True)
class Variation:
    """How the first noise of a request differs from that of its seeds."""

    seed: int | None = None
    """Variation seed of the first picture. Picture i has seed + i. None mixes nothing."""
    strength: float = 0.0
    """Share of the variation seed: 0 is the seed's own noise, 1 that of the variation seed."""
    width: int | None = None
    """Size in pixels at which the noise is drawn. None is the size of the picture."""
    height: int | None = None


def slerp(strength: float, low: Noises, high: Noises) -> Noises:
    """Return the point between two noises on the arc that joins them, column by column (Shoemake 1985).

    low, high: (C, h, w) float32. A column is the h values of one channel at one place of the width. The linear way
    would give noise of less variance. Parallel columns, which have no arc, are mixed linearly.
    """
    a, b = low.astype(np.float64), high.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1, keepdims=True) * np.linalg.norm(b, axis=1, keepdims=True)
    cosine = np.divide((a * b).sum(axis=1, keepdims=True), lengths, out=np.ones_like(lengths), where=lengths > 0)
    angle = np.arccos(np.clip(cosine, -1, 1))
    sine = np.sin(angle)
    apart = sine > PARALLEL
    safe = np.where(apart, sine, 1.0)
    of_low = np.where(apart, np.sin((1 - strength) * angle) / safe, 1 - strength)
    of_high = np.where(apart, np.sin(strength * angle) / safe, strength)
    return np.asarray(of_low * a + of_high * b, np.float32)


def centred(noise: Noises, over: Noises) -> Noises:
    """Return the noise `over` (..., H, W) float32 with the noise (..., h, w) in its centre, cut where it is larger."""
    found = over.copy()
    inner, outer = [], []
    for own, whole in zip(noise.shape[-2:], over.shape[-2:], strict=True):
        # Rounded down as there, so that of an odd overhang one more line is cut than is needed.
        offset = (whole - own) // 2
        size = own + 2 * min(offset, 0)
        inner.append(slice(max(-offset, 0), max(-offset, 0) + size))
        outer.append(slice(max(offset, 0), max(offset, 0) + size))
    found[..., outer[0], outer[1]] = noise[..., inner[0], inner[1]]
    return found


class VariedNoise:
    """The noise of pictures that vary a seed. Only the first draw differs from that of the seed itself."""

    def __init__(
        self,
        seeds: tuple[Sequence[int], Sequence[int] | None],
        shapes: tuple[tuple[int, int, int], tuple[int, int, int]],
        strength: float,
        rng: str,
        first: Callable[[Noises], Noises] | None,
        stream: Stream,
    ) -> None:
        """Take what a NoiseSource takes, and:

        seeds: The seeds of the pictures, and the seeds that these are mixed with, if there are some.
        shapes: (C, h, w) of the latents, and the shape at which the first noise is drawn.
        """
        own, others = seeds
        shape, drawn = shapes
        self._noise = NoiseSource(own, shape, rng, stream=stream)
        self._small = None if drawn == shape else NoiseSource(own, drawn, rng, stream=stream)
        self._others = None if others is None else NoiseSource(others, drawn, rng, stream=stream)
        self._strength, self._first, self._begun = strength, first, False

    def draw(self) -> Noises:
        """Return the next standard normal noise of every picture, (B, C, h, w) float32."""
        noise = self._noise.draw()
        if self._begun:
            return noise
        self._begun = True
        mixed = noise if self._small is None else self._small.draw()
        if self._others is not None:
            mixed = np.stack([slerp(self._strength, *pair) for pair in zip(mixed, self._others.draw(), strict=True)])
        found = mixed if self._small is None else centred(mixed, noise)
        return found if self._first is None else self._first(found)
