"""`engine bench`: time per stage of a picture, for each backend and batch size, in interleaved rounds."""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.backends.base import Arithmetic, Backend, Buffer, Context, Device, Model, Signature
from engine.backends.select import open_backend
from engine.bundle.job import Job
from engine.machine import machine_facts
from engine.output.formats import encode_png
from engine.output.provenance import describe
from engine.pipeline.pipeline import Pipeline
from engine.version import __version__

__all__ = ["Measured", "bench"]


@dataclass
class Measured:
    """The raw milliseconds per round of one backend at one batch size.

    `png_ms` covers encoding and writing the files. `graphs_ms` is the part of `denoise_ms` and `decode_ms` that was
    spent in the runtime, including its copies of inputs and outputs.
    """

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
        """Median milliseconds per picture, all stages one after the other."""
        rounds = zip(self.denoise_ms, self.decode_ms, self.png_ms, strict=True)
        return float(np.median([sum(stages) for stages in rounds])) / self.batch_size

    @property
    def host_share(self) -> float | None:
        """The share of the time that is spent outside the graphs, or None for TensorRT.

        TensorRT's graphs run asynchronously, so the host cannot time them.
        """
        if self.backend == "tensorrt":
            return None
        total = sum(self.denoise_ms) + sum(self.decode_ms) + sum(self.png_ms)
        return 1 - sum(self.graphs_ms) / total


class _Timed:
    """A model or context that adds up the seconds spent in it."""

    def __init__(self, inner: Model | Context, clock: list[float]) -> None:
        self._inner, self._clock = inner, clock

    def run(self, values: Any) -> Any:
        """Run, and add the seconds to the clock."""
        began = time.perf_counter()
        try:
            return self._inner.run(values)
        finally:
            self._clock[0] += time.perf_counter() - began

    def close(self) -> None:
        """Close the model or context."""
        self._inner.close()


class _TimedDevice:
    """A device with timed contexts."""

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
    """A backend that adds up the seconds of its graphs in `clock`."""

    def __init__(self, inner: Backend) -> None:
        self._inner = inner
        self.name, self.version, self.on_gpu = inner.name, inner.version, inner.on_gpu
        self.takes_long_context = inner.takes_long_context
        self.arithmetic: Arithmetic = inner.arithmetic
        self.clock = [0.0]
        self.device = None if inner.device is None else _TimedDevice(inner.device, self.clock)

    def open(self, path: Path, inputs: Signature, outputs: tuple[str, ...]) -> Model:
        """See Backend."""
        return _Timed(self._inner.open(path, inputs, outputs), self.clock)


def bench(jobs: Sequence[Job], *, rounds: int = 5) -> dict[str, Any]:
    """Measure every job (its backend, precision and batch size) in interleaved rounds after one warm-up round.

    Returns a record: the machine, versions, the bundle's hash, the request, and the raw samples.
    """
    first = jobs[0].request
    jobs[0].bundle.verify_for(first.class_names, first.preset)
    opened: list[tuple[Pipeline, _TimedBackend, Measured]] = []
    for job in jobs:
        request = job.request
        began = time.perf_counter()
        backend = _TimedBackend(open_backend(job))
        pipeline = Pipeline(job, request.class_names[0], backend)
        seconds = time.perf_counter() - began
        result = Measured(
            request.backend, backend.version, request.precision, request.batch_size, seconds, [], [], [], []
        )
        opened.append((pipeline, backend, result))
    try:
        for number in range(rounds + 1):
            for job, (pipeline, backend, result) in zip(jobs, opened, strict=True):
                _round(job, pipeline, backend, result, keep=number > 0)
    finally:
        for pipeline, _, _ in opened:
            pipeline.close()
    return {
        "machine": {**machine_facts(), "system": platform.platform()},
        "version": __version__,
        "bundle_sha256": jobs[0].bundle.sha256,
        "request": replace(first, backend="", precision="", batch_size=0).as_json(),
        "rounds": rounds,
        "measured": [
            {**vars(result), "picture_ms": result.picture_ms, "host_share": result.host_share}
            for _, _, result in opened
        ],
    }


def _round(job: Job, pipeline: Pipeline, backend: _TimedBackend, result: Measured, *, keep: bool) -> None:
    description = {**describe(job, job.request.class_names[0]), "seed": 0}
    backend.clock[0] = 0.0
    marks = [time.perf_counter()]
    seeds = range(job.request.batch_size)
    latents = pipeline.generate_latents(seeds)
    marks.append(time.perf_counter())
    images, _ = pipeline.decode(latents, seeds)
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
