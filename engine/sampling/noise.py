"""Noise: each class and seed has its own random generators, so that a picture depends on its class and seed alone.

`numpy` is NumPy's PCG64. `nv` reproduces CUDA's randn: Philox 4x32-10 (Salmon et al. 2011,
doi:10.1145/2063384.2063405) keyed by the seed, with one counter per number, and the sine branch of Box-Muller.

A seed has one stream for its latents and another one for the decoder. So the decoder's noise does not depend on the
sampler, on the number of steps or on what was drawn before. With `numpy` the name of the class enters both streams,
because classes that share their noise share the surroundings of the cell, too. `nv` has the same noise for all classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["DECODER", "LATENTS", "MAX_SEED", "RNGS", "WITH_CLASSES", "Noise", "NoiseSource", "Stream", "philox_4x32_10"]

MAX_SEED = 2**63 - 1
LATENTS, DECODER = 0, 1
"""The numbers of a seed's streams: the sampler's, and the decoder's."""
Words = NDArray[np.uint32]


@dataclass(frozen=True)
class Stream:
    """One of the random streams of a seed."""

    number: int = LATENTS
    class_name: str | None = None
    """The class whose name enters the stream. None is the stream that all classes share."""


class Generator(Protocol):
    """The noise stream of one picture."""

    def standard_normal(self, size: tuple[int, ...]) -> NDArray[np.float64]:
        """Return the next numbers of the stream."""
        ...


def philox_4x32_10(counter: Words, key: Words) -> Words:
    """Return ten rounds of Philox: counter (4, n) and key (2, n) uint32 -> (4, n) uint32."""
    c, k = counter.astype(np.uint64), key.astype(np.uint64)
    low = np.uint64(0xFFFFFFFF)
    for round_number in range(10):
        if round_number:
            k = (k + np.array([[0x9E3779B9], [0xBB67AE85]], np.uint64)) & low
        first, second = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = np.stack([(second >> 32) ^ c[1] ^ k[0], second & low, (first >> 32) ^ c[3] ^ k[1], first & low])
    return c.astype(np.uint32)


class _NvGenerator:
    """torch.randn on a CUDA device for one seed: call i takes counters (i, 0, 0..n-1, 0).

    Stream s begins at call s * 2^32, which no sampler reaches: its call i takes counters (i, s, 0..n-1, 0).
    """

    def __init__(self, seed: int, stream: Stream) -> None:
        self._key = np.array([[seed & 0xFFFFFFFF], [seed >> 32]], np.uint32)
        self._calls, self._stream = 0, stream.number

    def standard_normal(self, size: tuple[int, ...]) -> NDArray[np.float64]:
        """Return the next numbers of the stream."""
        n = int(np.prod(size))
        counter = np.zeros((4, n), np.uint32)
        counter[0], counter[1], counter[2] = self._calls, self._stream, np.arange(n)
        self._calls += 1
        words = philox_4x32_10(counter, np.repeat(self._key, n, axis=1))
        # CUDA's constants: 2^-32 and 2 pi 2^-32 in float32. Adding half of one keeps the logarithm's argument above 0.
        unit = float(np.float32(2.3283064e-10))
        unit_angle = float(np.float32(2.3283064e-10 * 6.2831855))
        radius = np.sqrt(-2 * np.log(words[0] * unit + unit / 2))
        angle = words[1] * unit_angle + unit_angle / 2
        return np.asarray(radius * np.sin(angle)).reshape(size)


def _numpy_generator(seed: int, stream: Stream) -> Generator:
    """Return PCG64 of the seed, or of a child of the seed for every stream except the shared stream of the latents.

    NumPy's SeedSequence mixes the seed with a spawn key: the number of the stream and the first 128 bits of the SHA-256
    of the class name, as four little-endian words.
    """
    key: tuple[int, ...] = () if stream == Stream() else (stream.number,)
    if stream.class_name is not None:
        digest = hashlib.sha256(stream.class_name.encode()).digest()
        key += tuple(int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4))
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


RNGS: dict[str, Callable[[int, Stream], Generator]] = {"numpy": _numpy_generator, "nv": _NvGenerator}
"""Functions that make the generator of a seed's stream, by name."""
WITH_CLASSES = frozenset({"numpy"})
"""Names of the generators whose noise depends on the class."""


class Noise(Protocol):
    """The noise of the pictures of one chunk, draw by draw."""

    def draw(self) -> NDArray[np.float32]:
        """Return the next standard normal noise of every picture, (B, C, h, w) float32."""
        ...


class NoiseSource:
    """The generators of the pictures of one chunk."""

    def __init__(
        self,
        seeds: Sequence[int],
        shape: tuple[int, int, int],
        rng: str = "numpy",
        first: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None,
        stream: Stream = Stream(),
    ) -> None:
        """first: applied to the first noise, if a trajectory does not begin at plain noise."""
        self._generators = [RNGS[rng](seed, stream) for seed in seeds]
        self._shape, self._first = shape, first

    def draw(self) -> NDArray[np.float32]:
        """Return the next standard normal noise of every picture, (len(seeds), *shape) float32."""
        noise = np.stack([generator.standard_normal(self._shape) for generator in self._generators]).astype(np.float32)
        first, self._first = self._first, None
        return noise if first is None else first(noise)
