"""Build one TensorRT plan from an ONNX graph. The network is strongly typed: FP16, and FP32 where the graph says so.

Polygraphy's loaders could do a part of this. They choose the flavour of TensorRT once per process, by an environment
variable, and log to one logger per process; here both flavours can be used, and each report has the lines of its build.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from onnx.external_data_helper import load_external_data_for_model

from engine.cache import cached_file, read_cached, write_cached
from engine.errors import CytosynthError
from engine.progress import StageProgress, silent_stages
from exporter.computed import computing_nodes, fold

__all__ = ["REPORT", "Profile", "Shape", "build_graph", "gpu_here"]

Shape = tuple[int, ...]
Profile = dict[str, tuple[Shape, Shape, Shape]]
"""Smallest, usual and largest shape of every input with a dynamic axis."""
REPORT = ".report.json"
"""Ending of the name of the report beside a plan, after the name of the graph."""
MEMORY = re.compile(r"memory|scratch|MiB|workspace", re.IGNORECASE)


def build_graph(
    trt: Any,
    path: Path,
    profile_of: Callable[[Any], Profile],
    *,
    capability: str,
    on_gpu: bool,
    refit: bool = False,
    progress: StageProgress = silent_stages,
) -> tuple[memoryview, dict[str, Any]]:
    """Return the bytes of the plan and a report. Raises CytosynthError.

    Args:
        trt: The module of TensorRT or TensorRT for RTX.
        path: The ONNX graph.
        profile_of: Returns the shapes for the parsed network.
        capability: Compute capability of the GPU, for example "8.6".
        on_gpu: Build on this machine's GPU with TensorRT's measurements. Otherwise TensorRT for RTX builds for the
            given capability without a GPU.
        refit: Build a plan whose weights can be replaced.
        progress: Receives a line for each phase.
    """
    logger = _logger(trt)
    builder = trt.Builder(logger)
    network, parser = _parse(trt, builder, logger, path)
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if not on_gpu:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{capability.replace('.', '')}"), 0)
    if refit:
        config.set_flag(trt.BuilderFlag.REFIT)
    shapes = profile_of(network)
    profile = builder.create_optimization_profile()
    for name, (low, usual, high) in shapes.items():
        profile.set_shape(name, low, usual, high)
    config.add_optimization_profile(profile)
    cache = _timing_cache(trt, config, capability) if on_gpu else None
    config.progress_monitor = monitor = _monitor(trt, progress)
    serialized = builder.build_serialized_network(network, config)
    del monitor
    if serialized is None:
        raise CytosynthError(
            f"TensorRT's builder on {path.name}",
            found="; ".join(logger.errors[:3]) or "no plan",
            expected="a plan",
            fix="use a machine with more memory, or fewer and smaller --batch sizes",
        )
    if cache is not None:
        write_cached(cache, memoryview(config.get_timing_cache().serialize()))
    content = memoryview(serialized)
    report = {
        "profile": {name: [list(shape) for shape in three] for name, three in shapes.items()},
        **_network_facts(network),
        "builder_memory": logger.memory,
        "header": _header(trt, logger, bytes(content[:64])),
        "engine_layers": _engine_layers(trt, logger, content),
    }
    # The network's weights point into memory that the parser owns, so the parser must live until here.
    del parser
    return content, report


def _logger(trt: Any) -> Any:
    class Log(trt.ILogger):
        """Collects the builder's errors for messages and its memory figures for the report."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.memory: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.ERROR:
                self.errors.append(message)
            elif MEMORY.search(message) and len(self.memory) < 200:
                self.memory.append(message.strip())

    return Log()


def _parse(trt: Any, builder: Any, logger: Any, path: Path) -> Any:
    """Parse an ONNX graph into a strongly typed network. Raises CytosynthError with the name of a refused node."""
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, logger)
    model = onnx.load(path, load_external_data=False)
    if computing_nodes(model.graph):
        # A kernel of a convolution must be a constant here.
        load_external_data_for_model(model, str(path.parent))
        fold(model)
        parsed = parser.parse(model.SerializeToString())
    else:
        parsed = parser.parse_from_file(str(path))
    if not parsed:
        problems = [parser.get_error(i) for i in range(parser.num_errors)]
        first = problems[0] if problems else None
        where = f"node {first.node()} {first.node_name()} ({first.node_operator()}): {first.desc()}" if first else ""
        raise CytosynthError(
            f"TensorRT's parser on {path.name}",
            found=where or "; ".join(logger.errors[:2]) or "a refusal",
            expected="a graph with known operators",
            fix="export the bundle again with the exporter of this version, or use a newer TensorRT",
        )
    for i in range(network.num_layers):
        layer = network.get_layer(i)
        if layer.type == trt.LayerType.ATTENTION_INPUT:
            # Without a fused kernel for its heads (the decoder's head is 512 wide), the builder may use plain products.
            layer.__class__ = trt.IAttentionInputLayer
            layer.attention.decomposable = True
    return network, parser


def _network_facts(network: Any) -> dict[str, Any]:
    """Return names, shapes and types of inputs and outputs, and the kind and output types of every layer."""

    def tensor(value: Any) -> dict[str, Any]:
        return {"name": value.name, "shape": list(value.shape), "dtype": _type(value.dtype)}

    layers = []
    for i in range(network.num_layers):
        layer = network.get_layer(i)
        outputs = [layer.get_output(k) for k in range(layer.num_outputs)]
        layers.append(
            {
                "name": layer.name,
                "type": str(layer.type).rsplit(".", 1)[-1],
                "dtypes": [_type(output.dtype) for output in outputs if output is not None],
            }
        )
    return {
        "inputs": [tensor(network.get_input(i)) for i in range(network.num_inputs)],
        "outputs": [tensor(network.get_output(i)) for i in range(network.num_outputs)],
        "layers": layers,
    }


def _type(dtype: Any) -> str:
    return str(dtype).rsplit(".", 1)[-1].lower()


def _header(trt: Any, logger: Any, head: bytes) -> dict[str, Any] | None:
    """Return the runtime's diagnosis of a plan's first bytes, or None if the runtime has none (TensorRT)."""
    runtime = trt.Runtime(logger)
    if not hasattr(runtime, "get_engine_validity"):
        return None
    validity, diagnostics = runtime.get_engine_validity(head)
    return {"validity": str(validity).rsplit(".", 1)[-1], "diagnostics": int(diagnostics)}


def _engine_layers(trt: Any, logger: Any, content: memoryview) -> Any:
    """Return the table of the engine inspector, or the reason why there is none. Only a GPU can read a plan."""
    if gpu_here() is None:
        return "this machine has no GPU; only a GPU can read a plan"
    engine = trt.Runtime(logger).deserialize_cuda_engine(content)
    if engine is None:
        return "; ".join(logger.errors[-2:])
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    return json.loads(text)


def _monitor(trt: Any, progress: StageProgress) -> Any:
    class Monitor(trt.IProgressMonitor):
        """Reports each phase of the builder once."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                progress(phase_name)

        def phase_finish(self, phase_name: str) -> None:
            pass

        def step_complete(self, phase_name: str, step: int) -> bool:
            return True

    return Monitor()


def _timing_cache(trt: Any, config: Any, capability: str) -> Path | None:
    """Load the measurements of earlier builds on this GPU and return their file. TensorRT for RTX has none."""
    if not hasattr(config, "create_timing_cache"):
        return None
    path = cached_file("tensorrt-timing", [trt.__version__, capability])
    found = read_cached(path)
    cache = config.create_timing_cache(b"" if found is None else found.tobytes())
    config.set_timing_cache(cache, ignore_mismatch=False)
    return path


def gpu_here() -> str | None:
    """Return the compute capability of this machine's first GPU, or None without a GPU."""
    try:
        cudart = importlib.import_module("cuda.bindings.runtime")
        error, count = cudart.cudaGetDeviceCount()
        if int(error) != 0 or not count:
            return None
        _, properties = cudart.cudaGetDeviceProperties(0)
        return f"{properties.major}.{properties.minor}"
    except Exception:  # missing libraries and drivers fail in many ways
        return None
