"""OpenVINO on the CPU."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from engine.backends.base import Arrays, Signature, check_signature, runtime_error
from engine.backends.group_norm import keep_channels_last
from engine.cache import cache_folder

__all__ = ["OpenVINOBackend", "OpenVINOModel", "the_core"]


@cache
def the_core() -> ov.Core:
    """The process's one core, which is never destroyed: OpenVINO's CPU plugin gives the thread that makes it a signal
    stack and unmaps that wherever it dies, after which a signal to that thread would end the process."""
    return ov.Core()


class OpenVINOBackend:
    """Opens graphs on the CPU. `precision` "f32" is exact; "auto" lets OpenVINO take bf16 where the processor has it,
    and so does "int8" for what an 8-bit graph leaves to it.

    threads: 0 lets OpenVINO choose, and every batch runs in one piece. Compiled graphs are kept in the user's cache,
    unless `cached` is False.
    """

    name = "openvino"
    on_gpu = False
    device = None

    def __init__(self, *, precision: str = "auto", threads: int = 0, cached: bool = True) -> None:
        self._core = the_core()
        self._threads = threads
        self._keeps = cached
        # Pinned, the threads of two processes of one thread each would both sit on the first core.
        self._config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
        if precision == "f32":
            self._config["INFERENCE_PRECISION_HINT"] = "f32"
        if threads:
            self._config["INFERENCE_NUM_THREADS"] = threads
        capabilities = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        computes_in = "bf16" if precision != "f32" and "BF16" in capabilities else "f32"
        if precision == "int8":
            computes_in = f"int8 and {computes_in}"
        self.version = f"openvino {ov.get_version().split('-')[0]} {computes_in}"

    def _cached(self, config: dict[str, Any]) -> dict[str, Any]:
        """The configuration with a cache of its own.

        OpenVINO's own key has the graph and its weights in it, but not the precision: a graph that was compiled for
        f32 is taken for bf16 too, and computes nonsense. A home folder may also be shared by unlike machines.
        """
        if not self._keeps:
            return config
        about = ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")
        machine = [str(self._core.get_property("CPU", name)) for name in about]
        key = hashlib.sha256(repr([ov.get_version(), machine, sorted(config.items())]).encode()).hexdigest()
        folder = cache_folder(f"openvino/{key[:16]}")
        return {**config, "CACHE_DIR": str(folder)} if folder else config

    def open(self, path: Path, inputs: Signature, outputs: tuple[str, ...]) -> OpenVINOModel:
        """See engine.backends.base.Backend."""
        try:
            return self._open(path, inputs, outputs)
        except RuntimeError as error:
            raise runtime_error(self.version, path, error) from error

    def _open(self, path: Path, inputs: Signature, outputs: tuple[str, ...]) -> OpenVINOModel:
        model = self._core.read_model(path)
        for what, ports, names in (("inputs", model.inputs, inputs), ("outputs", model.outputs, outputs)):
            found = {port.get_any_name(): port.get_element_type().to_dtype().name for port in ports}
            check_signature(path, what, found, names)
        parts = _parts({shape[0] for shape in inputs.values()}, self._threads)
        model.reshape({name: [shape[0] // parts, *shape[1:]] for name, shape in inputs.items()})
        keep_channels_last(model)
        config = {**self._config, "NUM_STREAMS": parts} if parts > 1 else self._config
        return OpenVINOModel(self._core.compile_model(model, "CPU", self._cached(config)), outputs, parts)


def _parts(rows: set[int], threads: int) -> int:
    """Into how many equal parts a batch is cut: the most that leave no thread without work of its own."""
    if len(rows) != 1:
        return 1
    (count,) = rows
    return max(parts for parts in range(1, max(1, min(threads, count)) + 1) if count % parts == 0 == threads % parts)


class OpenVINOModel:
    """A compiled graph, and an inference request for each part of the batch.

    A part has threads of its own: two cores that each compute half a batch are a third faster than two that share
    every operator of the whole.
    """

    def __init__(self, compiled: ov.CompiledModel, outputs: tuple[str, ...], parts: int = 1) -> None:
        self._requests = [compiled.create_infer_request() for _ in range(parts)]
        self._outputs = outputs

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run once; see engine.backends.base.Model."""
        parts = {name: np.split(np.ascontiguousarray(value), len(self._requests)) for name, value in inputs.items()}
        try:
            for i, request in enumerate(self._requests):
                request.start_async({name: values[i] for name, values in parts.items()})
            for request in self._requests:
                request.wait()
        except RuntimeError as error:
            raise runtime_error("openvino", None, error) from error
        return {
            name: np.concatenate([request.get_tensor(name).data for request in self._requests])
            for name in self._outputs
        }

    def close(self) -> None:
        """Drop the requests, and with them the compiled graph."""
        self._requests.clear()
