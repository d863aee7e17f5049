"""`engine bench`: what each stage of a picture costs here, on every backend and batch size, in interleaved rounds."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.backends.base import Backend, Buffer, Context, Device, Model, Signature
from engine.backends.select import open_backend
from engine.bundle.folder import Bundle
from engine.bundle.request import GenerateRequest
from engine.machine import processor_name
from engine.output.formats import encode_png
from engine.output.provenance import describe, own_version
from engine.pipeline.pipeline import Pipeline, plan_of

__all__ = ["Measured", "bench"]


@dataclass
class Measured:
    """One backend at one batch size; milliseconds of each round, raw. `png_ms` is encoding and writing the files;
    `graphs_ms` is the part of `denoise_ms` and `decode_ms` that was spent in the runtime, its copies of inputs and
    outputs included."""

    backend: str
    runtime: str
    precision: str
    batch_size: int
    open_s: float
    denoise_ms: list[float]
    decode_ms: list[float]
    png_ms: list[float]
    graphs_ms: list[float]

    @property
    def picture_ms(self) -> float:
        """Median milliseconds a picture, all stages one after the other."""
        rounds = zip(self.denoise_ms, self.decode_ms, self.png_ms, strict=True)
        return float(np.median([sum(stages) for stages in rounds])) / self.batch_size

    @property
    def host_share(self) -> float | None:
        """The part of the time that is not spent inside the graphs; None for TensorRT, whose graphs run beside the
        host's clock."""
        if self.backend == "tensorrt":
            return None
        total = sum(self.denoise_ms) + sum(self.decode_ms) + sum(self.png_ms)
        return 1 - sum(self.graphs_ms) / total


class _Timed:
    """A model or context, and the seconds spent in it."""

    def __init__(self, inner: Model | Context, clock: list[float]) -> None:
        self._inner, self._clock = inner, clock

    def run(self, values: Any) -> Any:
        """Run and add up."""
        began = time.perf_counter()
        try:
            return self._inner.run(values)
        finally:
            self._clock[0] += time.perf_counter() - began

    def close(self) -> None:
        """Close what is inside."""
        self._inner.close()


class _TimedDevice:
    """A device whose contexts are timed."""

    def __init__(self, inner: Device, clock: list[float]) -> None:
        self._inner, self._clock = inner, clock
        self.alignment_bytes = inner.alignment_bytes

    def allocate(self, shape: tuple[int, ...]) -> Buffer:
        """See Device."""
        return self._inner.allocate(shape)

    def open_context(self, path: Path, inputs: Signature, outputs: Signature) -> Context:
        """See Device."""
        return _Timed(self._inner.open_context(path, inputs, outputs), self._clock)

    def capture(self, work: Any) -> Any:
        """See Device."""
        return self._inner.capture(work)


class _TimedBackend:
    """A backend whose graphs' seconds add up in `clock`."""

    def __init__(self, inner: Backend) -> None:
        self._inner = inner
        self.name, self.version, self.on_gpu = inner.name, inner.version, inner.on_gpu
        self.clock = [0.0]
        self.device = None if inner.device is None else _TimedDevice(inner.device, self.clock)

    def open(self, path: Path, inputs: Signature, outputs: tuple[str, ...]) -> Model:
        """See Backend."""
        return _Timed(self._inner.open(path, inputs, outputs), self.clock)


def bench(bundle: Bundle, requests: Sequence[GenerateRequest], *, rounds: int = 5) -> dict[str, Any]:
    """Measure every request (its backend, precision and batch size) in interleaved rounds after one warm-up round.

    Returns a record: the machine, versions, the bundle's hash, what was asked, and the raw samples.
    """
    bundle.verify_for(requests[0].class_names)
    opened: list[tuple[Pipeline, _TimedBackend, Measured]] = []
    for request in requests:
        began = time.perf_counter()
        backend = _TimedBackend(open_backend(bundle, request))
        pipeline = Pipeline(bundle, request.class_names[0], request, backend)
        seconds = time.perf_counter() - began
        result = Measured(
            request.backend, backend.version, request.precision, request.batch_size, seconds, [], [], [], []
        )
        opened.append((pipeline, backend, result))
    try:
        for number in range(rounds + 1):
            for request, (pipeline, backend, result) in zip(requests, opened, strict=True):
                _round(bundle, request, pipeline, backend, result, keep=number > 0)
    finally:
        for pipeline, _, _ in opened:
            pipeline.close()
    return {
        "machine": {"processor": processor_name(), "cores": os.cpu_count(), "system": platform.platform()},
        "version": own_version(),
        "bundle_sha256": bundle.sha256,
        "request": replace(requests[0], backend="", precision="", batch_size=0).as_json(),
        "rounds": rounds,
        "measured": [
            {**vars(result), "picture_ms": result.picture_ms, "host_share": result.host_share}
            for _, _, result in opened
        ],
    }


def _round(
    bundle: Bundle,
    request: GenerateRequest,
    pipeline: Pipeline,
    backend: _TimedBackend,
    result: Measured,
    *,
    keep: bool,
) -> None:
    plan, scales = plan_of(bundle, request)
    description = {**describe(bundle, request, request.class_names[0], plan.sha256(scales)), "seed": 0}
    backend.clock[0] = 0.0
    marks = [time.perf_counter()]
    latents = pipeline.generate_latents(range(request.batch_size))
    marks.append(time.perf_counter())
    images, _ = pipeline.decode(latents)
    marks.append(time.perf_counter())
    with tempfile.TemporaryDirectory() as folder:
        for i, image in enumerate(images):
            (Path(folder) / f"{i}.png").write_bytes(encode_png(image, description))
        marks.append(time.perf_counter())
    if keep:
        for samples, stage in zip(
            (result.denoise_ms, result.decode_ms, result.png_ms), np.diff(marks) * 1000, strict=True
        ):
            samples.append(round(float(stage), 3))
        result.graphs_ms.append(round(backend.clock[0] * 1000, 3))
