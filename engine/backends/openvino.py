"""OpenVINO on the CPU."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from engine.backends.base import Arithmetic, Arrays, Signature, check_signature, runtime_error
from engine.backends.group_norm import keep_channels_last
from engine.cache import cache_folder

__all__ = ["OpenVINOBackend", "OpenVINOModel", "the_core"]


@cache
def the_core() -> ov.Core:
    """Return the only core of this process, which is never destroyed.

    OpenVINO's CPU plugin gives the thread that creates it a signal stack, and unmaps that stack when the plugin is
    destroyed, in whichever thread. A later signal to the first thread would end the process.
    """
    return ov.Core()


class OpenVINOBackend:
    """Opens graphs on the CPU.

    Args:
        precision: "f32" is exact. "auto" lets OpenVINO compute in bf16 if the processor supports it. "int8" does the
            same for the operations that an 8-bit graph does not quantise.
        threads: Processor threads. 0 lets OpenVINO choose, and each batch runs in one piece.
        cached: Whether compiled graphs are kept in the user's cache.
    """

    name = "openvino"
    on_gpu = False
    device = None

    def __init__(self, *, precision: str = "auto", threads: int = 0, cached: bool = True) -> None:
        self._core = the_core()
        self._threads = threads
        self._keeps = cached
        # With pinning, two processes of one thread each would both run on the first core.
        self._config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
        if precision == "f32":
            self._config["INFERENCE_PRECISION_HINT"] = "f32"
        if threads:
            self._config["INFERENCE_NUM_THREADS"] = threads
        capabilities = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        bf16 = precision != "f32" and "BF16" in capabilities
        computes_in = "bf16" if bf16 else "f32"
        self.arithmetic: Arithmetic = "bfloat16" if bf16 else "float32"
        if precision == "int8":
            computes_in = f"int8 and {computes_in}"
            self.arithmetic = "int8"
        self.version = f"openvino {ov.get_version().split('-')[0]} {computes_in}"

    def _cached(self, config: dict[str, Any]) -> dict[str, Any]:
        """Return the configuration with a cache folder of its own.

        OpenVINO's key contains the graph and its weights, but not the precision. A graph that was compiled for f32
        would be used for bf16 too, and would compute nonsense. Different machines may also share a home folder.
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
    """Return into how many equal parts to cut a batch: the largest number that divides its rows and the threads."""
    if len(rows) != 1:
        return 1
    (count,) = rows
    return max(parts for parts in range(1, max(1, min(threads, count)) + 1) if count % parts == 0 == threads % parts)


class OpenVINOModel:
    """A compiled graph, and an inference request for each part of the batch.

    Each part has its own threads. Two cores that each compute half a batch are a third faster than two cores that share
    every operator of the whole batch.
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
        """Drop the requests, which frees the compiled graph."""
        self._requests.clear()
