"""OpenVINO on the CPU."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from engine.backends.base import Arithmetic, Arrays, Signature, check_signature, runtime_error
from engine.backends.graph_files import hashes_of, weights_of
from engine.backends.rewrites import rewrite
from engine.backends.text_graphs import CONTEXT, set_tokens, skip_layers
from engine.cache import cached_file, read_cached, write_cached
from engine.machine import available_cores, processor_features
from engine.version import __version__

__all__ = ["OpenVINOBackend", "OpenVINOModel", "the_core"]

STEERING = ("DNNL_", "ONEDNN_", "OV_CPU_")
"""How the names of environment variables begin that change the kernels of the CPU plugin."""
MOST_KEPT = 2**30
"""Bytes of weights above which a compiled graph is not kept. To export and import such a graph takes half as much
memory again, and its cached file would push out all others."""


@cache
def the_core() -> ov.Core:
    """Return the only core of this process, which is never destroyed.

    OpenVINO's CPU plugin gives the thread that creates it a signal stack, and unmaps that stack when the plugin is
    destroyed, in whichever thread. A later signal to the first thread would end the process.
    """
    # The first call fills a table of OpenVINO's Python package. Two first calls in two threads wait for each other for
    # ever, and graphs open in several threads.
    ov.Type.f32.to_dtype()
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

    def _key(self, config: Mapping[str, Any], about: str) -> list[str]:
        """Return everything besides the files of a graph that decides its results on this machine.

        about: how the graph is changed before it is compiled.
        """
        machine = [
            str(self._core.get_property("CPU", name)) for name in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")
        ]
        # oneDNN and OpenVINO choose kernels by these variables, too.
        chosen = sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith(STEERING))
        machine += [processor_features(), str(available_cores()), *chosen]
        return [ov.get_version(), _sources(), *machine, repr(sorted(config.items())), about]

    def _compiled(
        self, path: Path, config: dict[str, Any], about: str, changed: Callable[[], ov.Model]
    ) -> ov.CompiledModel:
        """Return the compiled graph, imported from its exported form unless the cache is not used.

        `changed` is called if the graph is not cached. A graph that is compiled afresh may compute other last digits
        than the same graph from the cache. A first run and later runs therefore take the same way. Without the cache,
        or with more than MOST_KEPT of weights, the export would cost memory for nothing.
        """
        weights = weights_of(path)
        if not self._keeps or _bytes_of(weights or []) > MOST_KEPT:
            return self._core.compile_model(changed(), "CPU", config)
        hashes = None if weights is None else hashes_of(path, weights)
        file = None if hashes is None else cached_file("openvino", [*self._key(config, about), *hashes])
        content = read_cached(file)
        if content is not None:
            # What another build exported can be refused although it is intact.
            with suppress(RuntimeError):
                return self._core.import_model(ov.Tensor(content), "CPU", config)
        exported = self._core.compile_model(changed(), "CPU", config).export_model().getbuffer()
        write_cached(file, exported)
        content = read_cached(file)
        if content is None:
            content = np.array(exported)
        # Up to two gigabytes, which must not be held while the graph is opened.
        del exported
        return self._core.import_model(ov.Tensor(content), "CPU", config)

    def open(self, path: Path, inputs: Signature, outputs: tuple[str, ...]) -> OpenVINOModel:
        """See engine.backends.base.Backend."""
        return self.open_rows(path, inputs, outputs, max(shape[0] for shape in inputs.values()))

    def open_rows(self, path: Path, inputs: Signature, outputs: tuple[str, ...], whole: int) -> OpenVINOModel:
        """See engine.backends.base.RowBackend."""
        try:
            return self._open(path, inputs, outputs, whole=whole)
        except RuntimeError as error:
            raise runtime_error(self.version, path, error) from error

    def open_text_encoder(self, path: Path, inputs: Signature, clip_skip: int = 1) -> OpenVINOModel:
        """Open a text encoder that returns the `clip_skip`-th hidden state from last. Raises RequestError."""
        try:
            return self._open(path, inputs, ("hidden_states",), clip_skip=clip_skip)
        except RuntimeError as error:
            raise runtime_error(self.version, path, error) from error

    def _open(
        self,
        path: Path,
        inputs: Signature,
        outputs: tuple[str, ...],
        *,
        clip_skip: int = 1,
        whole: int | None = None,
    ) -> OpenVINOModel:
        rows = {shape[0] for shape in inputs.values()}
        # The only batch of a short run: a second stream takes longer to open than it saves.
        parts = 1 if whole and whole > max(rows) else _parts(rows, self._threads)
        # Some rows of a batch are computed by the operations that compute them in a part of the whole batch.
        like = whole // _parts({whole}, self._threads) if whole and len(rows) == 1 else None
        shapes = {name: [shape[0] // parts, *shape[1:]] for name, shape in inputs.items()}

        def changed() -> ov.Model:
            model = self._core.read_model(path)
            for what, ports, names in (("inputs", model.inputs, inputs), ("outputs", model.outputs, outputs)):
                found = {port.get_any_name(): port.get_element_type().to_dtype().name for port in ports}
                check_signature(path, what, found, names)
            if CONTEXT in inputs:
                set_tokens(model, inputs[CONTEXT][1])
            if clip_skip != 1:
                skip_layers(model, clip_skip)
            model.reshape(shapes)
            rewrite(model, like)
            return model

        config = {**self._config, "NUM_STREAMS": parts} if parts > 1 else self._config
        about = repr((sorted(shapes.items()), outputs, clip_skip, like))
        return OpenVINOModel(self._compiled(path, config, about, changed), outputs, parts)


def _bytes_of(paths: list[Path]) -> int:
    """Return the bytes of the files among these that exist."""
    return sum(path.stat().st_size for path in paths if path.is_file())


@cache
def _sources() -> str:
    """Return the SHA-256 of the code that changes graphs, so that no graph of another version is taken for its own."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return f"{__version__} {digest.hexdigest()}"


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
