"""Initial pictures in the pipeline: from their files to the start of the trajectories, and to finished pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.backends.base import Backend
from engine.bundle.job import Job
from engine.initial.canvas import Canvas, make_canvas
from engine.pipeline.encoder import Encoder
from engine.pipeline.loops import Start

__all__ = ["Beginning"]


class Beginning:
    """The initial pictures of one class. Each is read when its picture is made, so that their number needs no memory.

    The index of a picture is its seed minus the seed of the run, so that its initial picture does not depend on where a
    run was resumed or cut into pieces.
    """

    def __init__(self, job: Job, class_name: str, backend: Backend) -> None:
        request = job.request
        assert job.initial is not None
        assert request.initial is not None
        self._pictures, self._request, self._class_name = job.initial, request.initial, class_name
        self._first, self._size = request.seed, (request.width, request.height)
        self._pixels_per_latent = job.bundle.manifest.pixels_per_latent
        self._encoder = Encoder(job, backend)

    def start(self, seeds: Sequence[int]) -> Start:
        """Return where the trajectories of the pictures with these seeds begin."""
        canvases = [self._canvas(seed) for seed in seeds]
        masks = [canvas.latent_mask for canvas in canvases if canvas.latent_mask is not None]
        return Start(
            self._encoder.run(np.stack([canvas.image for canvas in canvases])),
            np.stack(masks) if masks else None,
            self._request.masked_content,
        )

    def finish(self, images: NDArray[np.uint8], seeds: Sequence[int]) -> list[NDArray[np.uint8]]:
        """Return the finished pictures, each (H', W', 3) uint8, from the drawn ones (B, H, W, 3)."""
        if not self._request.keeps_pixels:
            return list(images)
        return [self._canvas(seed).compose(image) for image, seed in zip(images, seeds, strict=True)]

    def _canvas(self, seed: int) -> Canvas:
        picture = self._pictures.of(self._class_name, seed - self._first)
        return make_canvas(picture, self._request, self._size, self._pixels_per_latent)

    def close(self) -> None:
        """Close the encoder."""
        self._encoder.close()
