"""Pictures that came out non-finite or blank, made again in float32."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.backends.base import Backend
from engine.backends.select import open_backend
from engine.bundle.folder import Bundle
from engine.bundle.request import GenerateRequest
from engine.pipeline.pipeline import Pipeline

__all__ = ["Checked", "Rescue", "troubles_of"]

BLANK_RANGE = 3
"""A picture whose every channel spans at most so many of 255 levels shows nothing."""
CPU_BACKEND = "openvino"


@dataclass(frozen=True)
class Checked:
    """A chunk's pictures, (B, H, W, 3) uint8; what is wrong with each, or ""; what made it in the second try, or ""."""

    images: NDArray[np.uint8]
    troubles: list[str]
    rescued: list[str]


def troubles_of(images: NDArray[np.uint8], finite: NDArray[np.bool_]) -> list[str]:
    """What is wrong with each picture, or ""."""
    spans = np.ptp(images, axis=(1, 2)).max(axis=-1)
    return [
        "not finite" if not whole else "blank" if span <= BLANK_RANGE else ""
        for whole, span in zip(finite, spans, strict=True)
    ]


class Rescue:
    """Runs a chunk with a bad picture once more, in float32 on the CPU, and takes what is fixed.

    The second model is opened at the first need. A request for OpenVINO in float32 has nothing better to offer.
    """

    def __init__(
        self,
        bundle: Bundle,
        class_name: str,
        request: GenerateRequest,
        open_cpu: Callable[[Bundle, GenerateRequest], Backend] = open_backend,
    ) -> None:
        self._bundle, self._class_name, self._request = bundle, class_name, request
        self._open_cpu = open_cpu
        self._pipeline: Pipeline | None = None

    def check(
        self,
        seeds: Sequence[int],
        images: NDArray[np.uint8],
        finite: NDArray[np.bool_],
        stop: threading.Event | None = None,
    ) -> Checked:
        """Check pictures of a chunk, and fix what can be. seeds: of the whole chunk, padding included.

        Raises Stopped when `stop` is set.
        """
        troubles, rescued = troubles_of(images, finite), [""] * len(images)
        exact = (self._request.backend, self._request.precision) == (CPU_BACKEND, "f32")
        if exact or not any(troubles):
            return Checked(images, troubles, rescued)
        if self._pipeline is None:
            request = replace(self._request, backend=CPU_BACKEND, precision="f32")
            backend = self._open_cpu(self._bundle, request)
            self._pipeline = Pipeline(self._bundle, self._class_name, request, backend)
        again, finite_again = self._pipeline.decode(self._pipeline.generate_latents(seeds, stop))
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
