"""OpenVINO on the CPU."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from engine.backends.base import Arithmetic, Arrays, Signature, check_signature, runtime_error
from engine.backends.rewrites import rewrite
from engine.backends.text_graphs import CONTEXT, set_tokens, skip_layers
from engine.cache import cached_file, read_cached, write_cached
from engine.machine import available_cores, processor_features

__all__ = ["OpenVINOBackend", "OpenVINOModel", "the_core"]

STEERING = ("DNNL_", "ONEDNN_", "OV_CPU_")
"""How the names of environment variables begin that change the kernels of the CPU plugin."""


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
    takes_long_context = True

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

    def _key(self, model: ov.Model, config: Mapping[str, Any]) -> list[str]:
        """Return everything that decides the compiled graph and its results on this machine."""
        about = [
            str(self._core.get_property("CPU", name)) for name in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")
        ]
        # oneDNN and OpenVINO choose kernels by these variables, too.
        chosen = sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith(STEERING))
        machine = [*about, processor_features(), str(available_cores()), *chosen]
        return [ov.get_version(), *machine, repr(sorted(config.items())), _digest(model)]

    def _compiled(self, model: ov.Model, config: dict[str, Any]) -> ov.CompiledModel:
        """Return the compiled graph, imported from its exported form unless the cache is not used.

        A graph that is compiled afresh may compute other last digits than the same graph from the cache. A first run
        and later runs therefore take the same way. Without the cache, the export would cost memory for nothing.
        """
        if not self._keeps:
            return self._core.compile_model(model, "CPU", config)
        file = cached_file("openvino", self._key(model, config))
        content = read_cached(file)
        if content is not None:
            # What another build exported can be refused although it is intact.
            with suppress(RuntimeError):
                return self._core.import_model(ov.Tensor(content), "CPU", config)
        exported = self._core.compile_model(model, "CPU", config).export_model().getbuffer()
        write_cached(file, exported)
        content = read_cached(file)
        if content is None:
            content = np.array(exported)
        # A UNet of Stable Diffusion's size takes gigabytes, which must not be held while the graph is opened.
        del exported
        return self._core.import_model(ov.Tensor(content), "CPU", config)

    def open(self, path: Path, inputs: Signature, outputs: tuple[str, ...]) -> OpenVINOModel:
        """See engine.backends.base.Backend."""
        try:
            return self._open(path, inputs, outputs)
        except RuntimeError as error:
            raise runtime_error(self.version, path, error) from error

    def open_text_encoder(self, path: Path, inputs: Signature, clip_skip: int = 1) -> OpenVINOModel:
        """Open a text encoder that returns the `clip_skip`-th hidden state from last. Raises RequestError."""
        change = partial(skip_layers, clip_skip=clip_skip) if clip_skip != 1 else None
        try:
            return self._open(path, inputs, ("hidden_states",), change)
        except RuntimeError as error:
            raise runtime_error(self.version, path, error) from error

    def _open(
        self,
        path: Path,
        inputs: Signature,
        outputs: tuple[str, ...],
        change: Callable[[ov.Model], None] | None = None,
    ) -> OpenVINOModel:
        model = self._core.read_model(path)
        for what, ports, names in (("inputs", model.inputs, inputs), ("outputs", model.outputs, outputs)):
            found = {port.get_any_name(): port.get_element_type().to_dtype().name for port in ports}
            check_signature(path, what, found, names)
        if CONTEXT in inputs:
            set_tokens(model, inputs[CONTEXT][1])
        if change is not None:
            change(model)
        parts = _parts({shape[0] for shape in inputs.values()}, self._threads)
        model.reshape({name: [shape[0] // parts, *shape[1:]] for name, shape in inputs.items()})
        rewrite(model)
        config = {**self._config, "NUM_STREAMS": parts} if parts > 1 else self._config
        return OpenVINOModel(self._compiled(model, config), outputs, parts)


def _digest(model: ov.Model) -> str:
    """Return the SHA-256 of a graph as it is compiled: its operations, shapes, attributes, connections and weights."""
    digest = hashlib.sha256()
    places: dict[str, int] = {}
    for place, node in enumerate(model.get_ordered_ops()):
        places[node.get_name()] = place
        sources = [
            (places[port.get_source_output().get_node().get_name()], port.get_source_output().get_index())
            for port in node.inputs()
        ]
        outputs = [
            (str(port.get_element_type()), str(port.get_partial_shape()), sorted(port.get_names()))
            for port in node.outputs()
        ]
        digest.update(repr((node.get_type_name(), sources, outputs)).encode())
        if node.get_type_name() == "Constant":
            digest.update(np.ascontiguousarray(node.data).reshape(-1).view(np.uint8).data)
        else:
            digest.update(repr(sorted(node.get_attributes().items())).encode())
    return digest.hexdigest()


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
