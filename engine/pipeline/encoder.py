"""The VAE's encoder, and the batches in which encoder and decoder work."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.backends.base import Backend
from engine.bundle.job import Job

__all__ = ["Encoder", "decode_batch_size", "padded"]

DECODE_PIXELS = 2**19
"""Largest number of pixels of a batch. The activations of encoder and decoder take most of the memory."""


def decode_batch_size(batch_size: int, width: int, height: int) -> int:
    """Return the number of pictures that the decoder and the encoder take at a time."""
    return max(1, min(batch_size, DECODE_PIXELS // (width * height)))


def padded(values: NDArray[Any], size: int) -> NDArray[Any]:
    """Return a batch of this size: the last entry is repeated."""
    return np.concatenate([values, np.repeat(values[-1:], size - len(values), axis=0)])


class Encoder:
    """The encoder of a bundle at the size of a job."""

    def __init__(self, job: Job, backend: Backend) -> None:
        request, files = job.request, job.bundle.manifest.vae_encoder
        assert files is not None, "make_request refuses what needs an encoder if the bundle has none"
        self._batch_size = decode_batch_size(request.batch_size, request.width, request.height)
        shape = (self._batch_size, request.height, request.width, 3)
        self._encoder = backend.open(job.bundle.path(files[0]), {"images": shape}, ("latents",))

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the latents (B, C, h, w) float32 of pictures (B, H, W, 3): the mean of the encoder's posterior."""
        latents = []
        for start in range(0, len(images), self._batch_size):
            chunk = images[start : start + self._batch_size]
            latents.append(self._encoder.run({"images": padded(chunk, self._batch_size)})["latents"][: len(chunk)])
        return np.concatenate(latents)

    def close(self) -> None:
        """Close the graph."""
        self._encoder.close()
