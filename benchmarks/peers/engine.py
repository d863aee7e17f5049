"""The engine as systems of `bench`: one for each runtime and precision that differ here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.work import TIMESTEP, Work
from benchmarks.rounds import INT8_PICTURE_DB, Opened, System, timed
from engine.backends.base import Backend
from engine.backends.select import PROBES, distinct_precisions, open_backend
from engine.bundle.request import GenerateRequest
from engine.output.formats import encode_png
from engine.output.provenance import describe
from engine.pipeline.pipeline import Pipeline, plan_of
from engine.sampling.schedules import time_features

__all__ = ["add_engine"]


def add_engine(opened: Opened, work: Work, part: str) -> None:
    """Every backend that is usable; why another is not."""
    for backend, look in PROBES.items():
        status = look()
        if not status.usable:
            opened.not_measured[f"engine {backend}"] = status.detail
            continue
        if status.on_gpu:
            opened.not_measured[f"engine {backend}"] = f"on a GPU, {status.detail}; diffusers is timed on the CPU here"
            continue
        if backend == "openvino":
            precisions = distinct_precisions(work.bundle, work.request)
        else:
            precisions = tuple(name for name in ("auto", "int8") if name in work.bundle.manifest.precisions)
        for precision in precisions:
            request = replace(work.request, backend=backend, precision=precision)
            name = f"engine {backend}" + (f" {precision}" if precision != "auto" or backend == "openvino" else "")
            opened.add(name, partial(_system, name, work, part, request))
        if backend == "openvino" and "auto" not in precisions:
            opened.not_measured["engine openvino auto"] = "it computes in float32 on this processor"


def _system(name: str, work: Work, part: str, request: GenerateRequest) -> System:
    tolerance = INT8_PICTURE_DB if (part, request.precision) == ("picture", "int8") else None
    return System(name, timed(_open(work, part, request)), tolerance=tolerance)


def _open(work: Work, part: str, request: GenerateRequest) -> Callable[[], NDArray[Any]]:
    backend = open_backend(work.bundle, request)
    if part != "picture":
        return _one_graph(work, part, backend, request.precision)
    pipeline = Pipeline(work.bundle, work.class_name, request, backend)
    plan, scales = plan_of(work.bundle, request)
    description = describe(work.bundle, request, work.class_name, plan.sha256(scales))

    def picture() -> NDArray[Any]:
        pictures, _ = pipeline.decode(pipeline.generate_latents(range(request.batch_size)))
        for seed, one in enumerate(pictures):
            (work.folder / f"{seed}.png").write_bytes(encode_png(one, {**description, "seed": seed}))
        return pictures

    return picture


def _one_graph(work: Work, part: str, backend: Backend, precision: str) -> Callable[[], NDArray[Any]]:
    manifest = work.bundle.manifest
    inputs = {"latents": work.noise}
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
