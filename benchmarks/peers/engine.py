"""The engine itself: one system per runtime and precision."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.peer import TIMESTEP, Work
from benchmarks.rounds import INT8_PICTURE_DB, REFERENCE, Opened, System, timed
from engine.backends.base import Backend
from engine.backends.select import PROBES, distinct_precisions, open_backend
from engine.bundle.job import Job
from engine.output.formats import encode_png
from engine.output.provenance import describe
from engine.pipeline.pipeline import Pipeline
from engine.sampling.schedules import time_features

__all__ = ["ENGINE_REFERENCE", "PROGRAM", "EnginePeer"]

PROGRAM = "engine"
ENGINE_REFERENCE = "engine openvino f32"
"""The system with which the engine's other systems are compared if they draw with a preset."""


class EnginePeer:
    """The engine on every runtime and in every precision that differ on this machine."""

    def add_to(self, opened: Opened, work: Work, part: str) -> None:
        """Add a system for each usable backend and precision, and the reasons why other backends are not usable."""
        for backend, look in PROBES.items():
            status = look()
            if not status.usable:
                opened.not_measured[f"engine {backend}"] = status.detail
                continue
            if status.on_gpu:
                opened.not_measured[f"engine {backend}"] = (
                    f"on a GPU, {status.detail}; diffusers is timed on the CPU here"
                )
                continue
            if backend == "openvino":
                precisions = distinct_precisions(work.engine_job)
            else:
                known = work.bundle.manifest.precisions_of(work.engine_job.request.preset)
                precisions = tuple(name for name in ("auto", "int8") if name in known)
            for precision in precisions:
                job = work.engine_job.changed(backend=backend, precision=precision)
                name = f"engine {backend}" + (f" {precision}" if precision != "auto" or backend == "openvino" else "")
                opened.add(name, partial(_system, name, work, part, job))
            if backend == "openvino" and "auto" not in precisions:
                opened.not_measured["engine openvino auto"] = "it computes in float32 on this processor"


def _system(name: str, work: Work, part: str, job: Job) -> System:
    tolerance = INT8_PICTURE_DB if (part, job.request.precision) == ("picture", "int8") else None
    reference = REFERENCE if work.preset_job is None else ENGINE_REFERENCE
    return System(name, PROGRAM, timed(_open(work, part, job)), tolerance=tolerance, reference=reference)


def _open(work: Work, part: str, job: Job) -> Callable[[], NDArray[Any]]:
    backend = open_backend(job)
    if part != "picture":
        return _one_graph(work, part, backend, job.request.precision)
    pipeline = Pipeline(job, work.class_name, backend)
    description = describe(job, work.class_name)
    seeds = range(job.request.batch_size)

    def picture() -> NDArray[Any]:
        pictures, _ = pipeline.decode(pipeline.generate_latents(seeds), seeds)
        for seed, one in enumerate(pictures):
            (work.folder / f"{seed}.png").write_bytes(encode_png(one, {**description, "seed": seed}))
        return pictures

    return picture


def _one_graph(work: Work, part: str, backend: Backend, precision: str) -> Callable[[], NDArray[Any]]:
    manifest = work.bundle.manifest
    inputs = {"latents": work.noise, **work.decoder_noise}
    unet, path = manifest.graphs(work.class_name, precision)
    outputs = ["images", "finite"]
    if part == "step":
        path, outputs = unet, ["eps"]
        inputs = {
            "latents": np.concatenate([work.noise] * 2),
            "time_features": time_features(np.full(len(work.context), TIMESTEP), np.array(manifest.frequencies)),
            "encoder_hidden_states": work.context,
        }
    model = backend.open(work.bundle.path(path), {name: value.shape for name, value in inputs.items()}, tuple(outputs))
    return lambda: model.run(inputs)[outputs[0]]
