"""Run the comparison on a GPU within a time limit, and make its record."""

from __future__ import annotations

import gc
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.models import PARTS, Inputs, Models, export_graphs, full_models, inputs_of, tiny_models
from benchmarks.gpu.settings import BATCHES, CAP_S, REHEARSED_BATCHES, ROUNDS, SYSTEMS
from benchmarks.gpu.systems import (
    PROVIDERS,
    Place,
    PlanBackend,
    TorchModels,
    build_plans,
    graph_system,
    onnxruntime_backend,
    provider_backend,
)
from benchmarks.origin import commit_here, versions_of
from benchmarks.rounds import REFERENCE, TOLERANCES, Opened, System, compare
from engine.backends.tensorrt import MODULES, load_api
from engine.errors import CytosynthError, RequestError
from engine.machine import machine_facts
from engine.pipeline.encoder import decode_batch_size
from engine.version import __version__
from exporter.plans.builder import Profile, gpu_here

__all__ = ["measure"]

LIBRARIES = ("diffusers", "torch", "onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt_rtx", "numpy")
REHEARSED = "8.6"
"""Compute capability for which a rehearsal builds plans."""


@dataclass
class Clock:
    """The time limit of a comparison. Time for systems that are opened but have not run yet is reserved."""

    ends: float
    reserved: float = field(default=0.0)

    def take(self, seconds: float) -> None:
        """Reserve time for a system. Raises RequestError if too little is left."""
        left = self.ends - time.monotonic() - self.reserved
        if left < seconds:
            raise RequestError(
                "The comparison",
                found=f"{left:.0f} s left",
                expected=f"{seconds:.0f} s for this system",
                fix="raise --minutes",
            )
        self.reserved += seconds


def measure(minutes: float, *, rehearsal: bool) -> dict[str, Any]:
    """Compare the systems at every batch size, and return the record with the raw seconds.

    rehearsal: run everything on the processor with tiny models.
    """
    place, clock = Place(rehearsal), Clock(time.monotonic() + 60 * minutes)
    commit = commit_here()
    models = tiny_models() if rehearsal else full_models()
    batches, rounds = (REHEARSED_BATCHES, 1) if rehearsal else (BATCHES, ROUNDS)
    compared = []
    with tempfile.TemporaryDirectory() as folder:
        torch_models = TorchModels(models, place)
        graphs = _Graphs(models, Path(folder), batches, place)
        for part in PARTS:
            for batch_size in _batches(part, batches, models):
                inputs = inputs_of(models, batch_size)
                opened = _opened(part, inputs, torch_models, graphs, clock)
                compared.append(_compared(opened, part, batch_size, rounds))
                clock.reserved = 0.0
                del opened
                gc.collect()
            torch_models.close()
    return {
        "machine": {**machine_facts(), **_gpu_facts(place)},
        "versions": {"cytosynth": __version__, **versions_of(LIBRARIES)},
        "commit": commit,
        "rehearsal": rehearsal,
        "weights": "random",
        "unet_parameters": sum(weight.numel() for weight in models.unet.parameters()),
        "latents_side": models.side,
        "rounds": rounds,
        "reference": REFERENCE,
        "tolerances": {part: TOLERANCES[part] for part in PARTS},
        "plans": graphs.built,
        "compared": compared,
    }


def _batches(part: str, batches: Sequence[int], models: Models) -> Sequence[int]:
    """Return the batch sizes of a part: the engine decodes few pictures at a time."""
    side = models.pixels
    return batches if part == "step" else sorted({1, decode_batch_size(max(batches), side, side)})


class _Graphs:
    """The graphs and plans of both parts, made when the first system needs them."""

    def __init__(self, models: Models, folder: Path, batches: Sequence[int], place: Place) -> None:
        self._models, self._folder, self._batches, self._place = models, folder, batches, place
        self._paths: dict[str, Path] = {}
        self._plans: PlanBackend | RequestError | None = None
        self.built: dict[str, Any] = {}

    @property
    def paths(self) -> dict[str, Path]:
        """The ONNX graph of each part."""
        self._paths = self._paths or export_graphs(self._models, self._folder)
        return self._paths

    def profile(self, part: str) -> Profile:
        """Return the shapes from one picture to the largest batch."""
        sizes = self._batches if part == "step" else _batches(part, self._batches, self._models)
        usual = inputs_of(self._models, sorted(sizes)[len(sizes) // 2])
        few, many = inputs_of(self._models, 1), inputs_of(self._models, max(sizes))
        three = (few, usual, many)
        if part == "decode":
            return {"latents": _three(three, lambda one: one.decoding)}
        return {
            "latents": _three(three, lambda one: one.latents),
            "time_features": _three(three, lambda one: one.time_features),
            "encoder_hidden_states": _three(three, lambda one: one.context),
        }

    def onnxruntime(self) -> Any:
        """Return ONNX Runtime with CUDA."""
        return onnxruntime_backend(self._place)

    def provider(self, name: str, part: str) -> Any:
        """Return ONNX Runtime with a TensorRT provider."""
        return provider_backend(name, self.profile(part), self._folder)

    def plans(self) -> PlanBackend:
        """Return the plans for this GPU by the first flavour that builds for it. Raises RequestError without one."""
        if self._plans is None:
            try:
                self._plans = self._build()
            except RequestError as error:
                self._plans = error
        if isinstance(self._plans, RequestError):
            raise self._plans
        return self._plans

    def _build(self) -> PlanBackend:
        capability, reasons = gpu_here(), []
        profiles = {part: self.profile(part) for part in PARTS}
        for flavour in sorted(MODULES, key=lambda flavour: flavour != "rtx"):
            began = time.monotonic()
            try:
                if capability is None and flavour != "rtx":
                    raise RequestError(flavour, found="no GPU to build the plan", expected="a GPU", fix="use a GPU")
                on_gpu = flavour != "rtx"
                plans = build_plans(flavour, self.paths, profiles, capability or REHEARSED, on_gpu=on_gpu)
                size = sum(plan.size_bytes for plan in plans.plans.values())
                seconds = round(time.monotonic() - began, 1)
                self.built = {"flavour": flavour, "version": plans.version, "bytes": size, "seconds": seconds}
                if capability is None:
                    raise RequestError(flavour, found="no GPU to run the plan", expected="a GPU", fix="use a GPU")
                return PlanBackend(load_api(flavour), plans)
            except Exception as error:  # bindings without their libraries fail in many ways
                reasons.append(f"{flavour}: {error.found if isinstance(error, CytosynthError) else error}")
        raise RequestError(
            "TensorRT plans",
            found="; ".join(reasons) or "no flavour",
            expected="a GPU and a flavour that builds for it",
            fix="pip install 'cytosynth[rtx]' or 'cytosynth[tensorrt]'",
        )


def _three(inputs: Sequence[Inputs], of: Callable[[Inputs], Any]) -> tuple[Any, Any, Any]:
    low, usual, high = (tuple(of(one).shape) for one in inputs)
    return low, usual, high


def _opened(part: str, inputs: Inputs, models: TorchModels, graphs: _Graphs, clock: Clock) -> Opened:
    """Open every system for which there is time. Keep the reasons of the others."""
    opened = Opened()
    opened.add(REFERENCE, partial(models.system, REFERENCE, part, inputs, torch.float32))
    makes: dict[str, Callable[[], System]] = {}
    for name in ("diffusers float16", "diffusers float16 compiled"):
        makes[name] = partial(models.system, name, part, inputs, torch.float16, compiled=name.endswith("compiled"))

    def of_graph(name: str, program: str, backend: Callable[[], Any]) -> None:
        makes[name] = lambda: graph_system(name, program, part, graphs.paths[part], inputs, backend())

    of_graph("onnxruntime CUDA", "onnxruntime", graphs.onnxruntime)
    for provider in PROVIDERS:
        of_graph(f"onnxruntime {provider}", "onnxruntime", partial(graphs.provider, provider, part))
    of_graph("TensorRT plan", "engine", graphs.plans)
    for name, seconds in SYSTEMS.items():

        def make(name: str = name, seconds: float = seconds) -> System:
            clock.take(seconds)
            return makes[name]()

        opened.add(name, make)
    return opened


def _compared(opened: Opened, part: str, batch_size: int, rounds: int) -> dict[str, Any]:
    """Compare the opened systems. A batch for which the reference has no memory is recorded as not measured."""
    try:
        found = compare(opened, part, rounds=rounds, cap_s=CAP_S)
    except CytosynthError as error:
        reasons = {**opened.not_measured, REFERENCE: f"{error.subject}: {error.found}"}
        found = {"program": {}, "seconds": {}, "deviation": {}, "refused": {}, "not_measured": reasons}
    found.pop("alongside_seconds", None)
    medians = {name: float(np.median(seconds)) for name, seconds in found["seconds"].items()}
    eager = medians.get("diffusers float16")
    return {
        "part": part,
        "batch_size": batch_size,
        **found,
        "per_second": {name: batch_size / seconds for name, seconds in medians.items()},
        "times_eager": {} if eager is None else {name: eager / seconds for name, seconds in medians.items()},
    }


def _gpu_facts(place: Place) -> dict[str, Any]:
    if place.rehearsal:
        return {"gpu": None}
    properties = torch.cuda.get_device_properties(0)
    return {
        "gpu": properties.name,
        "gpu_memory_bytes": properties.total_memory,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "driver": _driver(),
        "cuda": torch.version.cuda,
    }


def _driver() -> str | None:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.split("\n")[0].strip() or None
