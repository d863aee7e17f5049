"""Rescue: pictures that are not finite or blank are made again in float32."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.backends.base import Backend
from engine.backends.select import open_backend
from engine.bundle.job import Job
from engine.pipeline.pipeline import Pipeline

__all__ = ["Checked", "Rescue", "troubles_of"]

BLANK_RANGE = 3
"""A picture is blank if every channel spans at most this many of 255 levels."""
CPU_BACKEND = "openvino"


@dataclass(frozen=True)
class Checked:
    """The pictures (B, H, W, 3) uint8 of a chunk, and per picture its problem and what made it in the second try.

    Both texts are empty for a good picture.
    """

    images: NDArray[np.uint8]
    troubles: list[str]
    rescued: list[str]


def troubles_of(images: NDArray[np.uint8], finite: NDArray[np.bool_]) -> list[str]:
    """Return the problem of each picture, or ""."""
    spans = np.ptp(images, axis=(1, 2)).max(axis=-1)
    return [
        "not finite" if not whole else "blank" if span <= BLANK_RANGE else ""
        for whole, span in zip(finite, spans, strict=True)
    ]


class Rescue:
    """Makes a chunk with a bad picture again in float32 on the CPU, and takes the pictures that are good now.

    The second model is opened when it is needed first. A request for OpenVINO in float32 is not tried again.
    """

    def __init__(self, job: Job, class_name: str, open_cpu: Callable[[Job], Backend] = open_backend) -> None:
        self._job, self._class_name = job, class_name
        self._open_cpu = open_cpu
        self._pipeline: Pipeline | None = None

    def check(
        self,
        seeds: Sequence[int],
        images: NDArray[np.uint8],
        finite: NDArray[np.bool_],
        stop: threading.Event | None = None,
    ) -> Checked:
        """Return the pictures of a chunk, with bad ones replaced if possible.

        seeds: the seeds of the whole chunk, padding included. Raises Stopped if `stop` is set.
        """
        troubles, rescued = troubles_of(images, finite), [""] * len(images)
        exact = (self._job.request.backend, self._job.request.precision) == (CPU_BACKEND, "f32")
        if exact or not any(troubles):
            return Checked(images, troubles, rescued)
        if self._pipeline is None:
            exact_job = self._job.changed(backend=CPU_BACKEND, precision="f32")
            self._pipeline = Pipeline(exact_job, self._class_name, self._open_cpu(exact_job))
        again, finite_again = self._pipeline.decode(self._pipeline.generate_latents(seeds, stop), seeds)
        remaining = troubles_of(again[: len(images)], finite_again[: len(images)])
        images = images.copy()
        for i, trouble in enumerate(troubles):
            if trouble and not remaining[i]:
                images[i], rescued[i], troubles[i] = again[i], f"{CPU_BACKEND} f32, was {trouble}", ""
        return Checked(images, troubles, rescued)

    def close(self) -> None:
        """Close the second model."""
        if self._pipeline is not None:
            self._pipeline.close()
