"""Initial pictures in the pipeline: from their files to the start of the trajectories, and to finished pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.backends.base import Backend
from engine.bundle.job import Job
from engine.initial.canvas import Canvas, make_canvas
from engine.pipeline.loops import Start

__all__ = ["Beginning"]


class Beginning:
    """The initial pictures of one class. Each is read when its picture is made, so that their number needs no memory.

    The index of a picture is its seed minus the seed of the run, so that its initial picture does not depend on where a
    run was resumed or cut into pieces.
    """

    def __init__(self, job: Job, class_name: str, backend: Backend, batch_size: int) -> None:
        """batch_size: number of pictures that the encoder takes at a time."""
        request, manifest = job.request, job.bundle.manifest
        assert job.initial is not None
        assert request.initial is not None
        assert manifest.vae_encoder is not None, "make_request refuses initial pictures without an encoder"
        self._pictures, self._request, self._class_name = job.initial, request.initial, class_name
        self._first, self._size = request.seed, (request.width, request.height)
        self._pixels_per_latent, self._batch_size = manifest.pixels_per_latent, batch_size
        shape = (batch_size, request.height, request.width, 3)
        encoder = job.bundle.path(manifest.vae_encoder[0])
        self._encoder = backend.open(encoder, {"images": shape}, ("latents",))

    def start(self, seeds: Sequence[int]) -> Start:
        """Return where the trajectories of the pictures with these seeds begin."""
        canvases = [self._canvas(seed) for seed in seeds]
        masks = [canvas.latent_mask for canvas in canvases if canvas.latent_mask is not None]
        return Start(
            self._encode(np.stack([canvas.image for canvas in canvases])),
            np.stack(masks) if masks else None,
            self._request.masked_content,
        )

    def _encode(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the latents (B, C, h, w) float32 of pictures (B, H, W, 3): the mean of the encoder's posterior."""
        latents = []
        for start in range(0, len(images), self._batch_size):
            chunk = images[start : start + self._batch_size]
            missing = self._batch_size - len(chunk)
            padded = np.concatenate([chunk, np.repeat(chunk[-1:], missing, axis=0)])
            latents.append(self._encoder.run({"images": padded})["latents"][: len(chunk)])
        return np.concatenate(latents)

    def finish(self, images: NDArray[np.uint8], seeds: Sequence[int]) -> list[NDArray[np.uint8]]:
        """Return the finished pictures, each (H', W', 3) uint8, from the drawn ones (B, H, W, 3)."""
        return [self._canvas(seed).compose(image) for image, seed in zip(images, seeds, strict=True)]

    def _canvas(self, seed: int) -> Canvas:
        picture = self._pictures.of(self._class_name, seed - self._first)
        return make_canvas(picture, self._request, self._size, self._pixels_per_latent)

    def close(self) -> None:
        """Close the encoder."""
        self._encoder.close()
