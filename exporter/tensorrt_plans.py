"""TensorRT plans of a bundle's graphs: TensorRT for RTX builds them for a GPU that is not there, TensorRT on its own.

A plan is built from the ONNX graph as it is, strongly typed: FP16 inside with FP32 where the graph says so.
"""

from __future__ import annotations

import errno
import hashlib
import importlib
import json
import re
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.backends.tensorrt import MODULES, wanted_graphs
from engine.bundle import Bundle
from engine.cache import cache_folder
from engine.errors import CytosynthError, RequestError
from engine.files import replace_file, write_json
from engine.pipeline import decode_batch_size
from engine.plans import FORMAT_VERSION, Plan, graph_digest, read_plan_folder

__all__ = ["PlanRequest", "build_plans", "load_tensorrt", "parse_graph"]

SPACE_FACTOR = 1.5
"""Room that is asked for, in sizes of the weights: the plans, and the one in the making."""
MEMORY = re.compile(r"memory|scratch|MiB|workspace", re.IGNORECASE)


@dataclass(frozen=True)
class PlanRequest:
    """What plans are built for. batch_sizes: pictures; every size between the least and the largest will run."""

    compute_capability: str
    flavour: str
    batch_sizes: tuple[int, ...]
    width: int
    height: int
    refit: bool = False

    def folder_name(self, version: str) -> str:
        """The folder's name under `plans/`: the GPU, flavour, version and shapes; plan.json has the content's hash."""
        gpu = f"sm{self.compute_capability.replace('.', '')}"
        batches = "-".join(map(str, self.batch_sizes))
        kind = "-refit" if self.refit else ""
        return f"{gpu}-{self.flavour}-{version}-b{batches}-{self.width}x{self.height}{kind}"


def load_tensorrt(flavour: str) -> Any:
    """The module of a flavour. Raises RequestError where it is not installed."""
    try:
        return importlib.import_module(MODULES[flavour])
    except Exception as error:  # bindings whose libraries are absent fail in many ways
        raise RequestError(
            f"--flavour {flavour}",
            found=f"{MODULES[flavour]} cannot be imported ({error})",
            expected="TensorRT for RTX" if flavour == "rtx" else "TensorRT",
            mend=f"pip install 'cytosynth[{flavour}]'",
        ) from error


def build_plans(
    bundle: Bundle,
    class_names: Sequence[str],
    request: PlanRequest,
    progress: Callable[[str], None] = lambda what: None,
) -> Path:
    """Build a plan of each class's UNet, the decoder and the step graph; returns their folder.

    Plans that are there and fit are kept; plan.json is replaced last, so that an engine sees whole plans only. Beside
    each plan lies a report. Raises RequestError before anything is written where the request cannot be met.
    """
    if request.flavour != "rtx" or request.refit:
        _check_gpu(request)
    trt = load_tensorrt(request.flavour)
    if request.flavour == "rtx" and not request.refit:
        _check_target(trt, request)
    bundle.verify_for(class_names)
    folder = bundle.folder / "plans" / request.folder_name(trt.__version__)
    graphs = wanted_graphs(bundle, class_names)
    standing = _standing(bundle, folder)
    missing = {
        graph: files
        for graph, files in graphs.items()
        if graph not in standing or standing[graph].graph_sha256 != graph_digest(bundle, files)
    }
    _check_space(bundle, folder, missing)
    plans = dict(standing)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for graph, files in missing.items():
            progress(f"{graph}: building")
            plans[graph] = _build(trt, bundle, graph, files, request, folder, progress)
            # After each, so that what a cut leaves is kept.
            _write_record(trt, folder, request, plans)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise CytosynthError(
            f"The plans in {folder}",
            found=str(error.strerror),
            expected="room and permission to write",
            mend="make room, then the same command goes on" if full else "see the folder's permissions",
        ) from error
    finally:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    return folder


def _write_record(trt: Any, folder: Path, request: PlanRequest, plans: dict[str, Plan]) -> None:
    write_json(
        folder / "plan.json",
        {
            "format_version": FORMAT_VERSION,
            "flavour": request.flavour,
            "version": trt.__version__,
            "compute_capability": request.compute_capability,
            "batch_sizes": list(request.batch_sizes),
            "width": request.width,
            "height": request.height,
            "refit": request.refit,
            "plans": {graph: _as_json(plan) for graph, plan in sorted(plans.items())},
        },
    )


def _as_json(plan: Plan) -> dict[str, Any]:
    facts = asdict(plan)
    facts["bytes"] = facts.pop("size_bytes")
    return facts


def _standing(bundle: Bundle, folder: Path) -> dict[str, Plan]:
    """The plans that are there, whole and of graphs that the bundle still has."""
    if not (folder / "plan.json").exists():
        return {}
    try:
        found = read_plan_folder(folder / "plan.json")
        known = wanted_graphs(bundle, bundle.manifest.classes)
        kept = {
            graph: plan
            for graph, plan in found.plans.items()
            if graph in known and plan.graph_sha256 == graph_digest(bundle, known[graph])
        }
        for graph in kept:
            found.open(graph)
    except RequestError:
        return {}
    return kept


def _check_target(trt: Any, request: PlanRequest) -> None:
    gpu = f"SM{request.compute_capability.replace('.', '')}"
    offered = [name for name in dir(trt.ComputeCapability) if re.fullmatch(r"SM\d+", name)]
    if gpu not in offered:
        raise RequestError(
            f"--gpu {gpu.lower()}",
            found=f"no target of TensorRT for RTX {trt.__version__}",
            expected=f"one of {', '.join(name.lower() for name in offered)}",
            mend="another version of tensorrt-rtx, or --flavour tensorrt on a machine with that GPU",
        )


def _check_gpu(request: PlanRequest) -> None:
    here = _gpu_here()
    if here != request.compute_capability:
        raise RequestError(
            "--refit" if request.refit else "--flavour tensorrt",
            found="no GPU" if here is None else f"a GPU of compute capability {here}",
            expected=f"one of {request.compute_capability}: such plans are built on the GPU that they are for",
            mend="run this there, or leave the option out: TensorRT for RTX builds without a GPU",
        )


def _gpu_here() -> str | None:
    """The compute capability of this machine's first GPU."""
    try:
        cudart = importlib.import_module("cuda.bindings.runtime")
        error, count = cudart.cudaGetDeviceCount()
        if int(error) != 0 or not count:
            return None
        _, properties = cudart.cudaGetDeviceProperties(0)
        return f"{properties.major}.{properties.minor}"
    except Exception:  # absent libraries and drivers fail in many ways
        return None


def _check_space(bundle: Bundle, folder: Path, graphs: dict[str, tuple[str, ...]]) -> None:
    needed = int(
        SPACE_FACTOR * sum(bundle.manifest.files[name].size_bytes for files in graphs.values() for name in files)
    )
    free = shutil.disk_usage(bundle.folder).free
    if free < needed:
        raise RequestError(
            f"The disk of {folder}",
            found=f"{free / 1e6:.0f} MB free",
            expected=f"{needed / 1e6:.0f} MB for {len(graphs)} plans",
            mend="make room, or build fewer classes with --class",
        )


def _logger(trt: Any) -> Any:
    class Log(trt.ILogger):
        """What the builder says: errors for messages, memory figures for the report."""

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


def parse_graph(trt: Any, builder: Any, logger: Any, path: Path) -> Any:
    """The strongly typed network of an ONNX graph. Raises CytosynthError that names the node that is refused."""
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(path)):
        problems = [parser.get_error(i) for i in range(parser.num_errors)]
        first = problems[0] if problems else None
        where = f"node {first.node()} {first.node_name()} ({first.node_operator()}): {first.desc()}" if first else ""
        raise CytosynthError(
            f"TensorRT's parser on {path.name}",
            found=where or "; ".join(logger.errors[:2]) or "a refusal",
            expected="a graph of operators that it knows",
            mend="export the bundle again with the exporter of this version, or use a newer TensorRT",
        )
    for i in range(network.num_layers):
        layer = network.get_layer(i)
        if layer.type == trt.LayerType.ATTENTION_INPUT:
            # Where no fused kernel takes its heads (the decoder's 512 wide one), the builder may use plain products.
            layer.__class__ = trt.IAttentionInputLayer
            layer.attention.decomposable = True
    # The parser owns what the network's weights point at.
    return network, parser


def _build(
    trt: Any,
    bundle: Bundle,
    graph: str,
    files: tuple[str, ...],
    request: PlanRequest,
    folder: Path,
    progress: Callable[[str], None],
) -> Plan:
    began = time.monotonic()
    logger = _logger(trt)
    builder = trt.Builder(logger)
    network, parser = parse_graph(trt, builder, logger, bundle.path(graph))
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if request.flavour == "rtx" and not request.refit:
        config.num_compute_capabilities = 1
        config.set_compute_capability(
            getattr(trt.ComputeCapability, f"SM{request.compute_capability.replace('.', '')}"), 0
        )
    if request.refit:
        config.set_flag(trt.BuilderFlag.REFIT)
    profile = builder.create_optimization_profile()
    shapes = _shapes(bundle, graph, network, request)
    for name, (low, usual, high) in shapes.items():
        profile.set_shape(name, low, usual, high)
    config.add_optimization_profile(profile)
    cache = _timing_cache(trt, config, request)
    monitor = _monitor(trt, graph, progress)
    config.progress_monitor = monitor
    serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise CytosynthError(
            f"TensorRT's builder on {graph}",
            found="; ".join(logger.errors[:3]) or "no plan",
            expected="a plan",
            mend="more memory, or fewer and smaller --batch sizes",
        )
    _keep_timing_cache(config, cache)
    content = memoryview(serialized)
    path = folder / f"{graph}.plan"
    with replace_file(path) as part:
        part.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    report = {
        "graph": graph,
        "bytes": content.nbytes,
        "seconds": round(time.monotonic() - began, 2),
        "profile": {name: [list(shape) for shape in three] for name, three in shapes.items()},
        **_network_facts(network),
        "builder_memory": logger.memory,
        "header": _header(trt, logger, bytes(content[:64])),
        "engine_layers": _engine_layers(trt, logger, content),
    }
    write_json(folder / f"{graph}.report.json", report)
    del parser
    progress(f"{graph}: {content.nbytes / 1e6:.1f} MB in {report['seconds']:.1f} s")
    return Plan(path.name, digest, content.nbytes, graph_digest(bundle, files))


Shape = tuple[int, ...]


def _shapes(bundle: Bundle, graph: str, network: Any, request: PlanRequest) -> dict[str, tuple[Shape, Shape, Shape]]:
    """The least, usual and largest shape of every input with a free axis."""
    manifest = bundle.manifest
    pixels = manifest.pixels_per_latent
    sides = (request.height // pixels, request.width // pixels)
    least, most = min(request.batch_sizes), max(request.batch_sizes)
    usual = sorted(request.batch_sizes)[len(request.batch_sizes) // 2]
    batches: tuple[int, int, int]
    if graph == manifest.step:
        batches = (least, usual, most)
    elif graph == manifest.decoder[0]:
        most = decode_batch_size(most, request.width, request.height)
        batches = (1, min(usual, most), most)
    else:
        # A guided step evaluates twice the pictures, an unguided one as many.
        batches = (least, 2 * usual, 2 * most)
    shapes: dict[str, tuple[Shape, Shape, Shape]] = {}
    for i in range(network.num_inputs):
        tensor = network.get_input(i)
        shape = tuple(tensor.shape)
        if -1 in shape:
            rest = (*shape[1:-2], *sides) if len(shape) == 4 else shape[1:]
            low, middle, high = ((batch, *rest) for batch in batches)
            shapes[tensor.name] = (low, middle, high)
    return shapes


def _network_facts(network: Any) -> dict[str, Any]:
    """Names, shapes and types of inputs and outputs, and every layer's kind and the types that it computes."""

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
    """What the runtime says of a plan's first bytes, where it can (TensorRT for RTX)."""
    runtime = trt.Runtime(logger)
    if not hasattr(runtime, "get_engine_validity"):
        return None
    validity, diagnostics = runtime.get_engine_validity(head)
    return {"validity": str(validity).rsplit(".", 1)[-1], "diagnostics": int(diagnostics)}


def _engine_layers(trt: Any, logger: Any, content: memoryview) -> Any:
    """The engine inspector's table, where there is a GPU to read the plan on."""
    if _gpu_here() is None:
        return "no GPU here: only one can read a plan"
    engine = trt.Runtime(logger).deserialize_cuda_engine(content)
    if engine is None:
        return "; ".join(logger.errors[-2:])
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    return json.loads(text)


def _monitor(trt: Any, graph: str, progress: Callable[[str], None]) -> Any:
    class Monitor(trt.IProgressMonitor):
        """Says each phase of the builder once."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                progress(f"{graph}: {phase_name}")

        def phase_finish(self, phase_name: str) -> None:
            pass

        def step_complete(self, phase_name: str, step: int) -> bool:
            return True

    return Monitor()


def _timing_cache(trt: Any, config: Any, request: PlanRequest) -> Path | None:
    """Measurements of earlier builds on this GPU, taken up. TensorRT for RTX measures nothing and has none."""
    folder = cache_folder("tensorrt-timing") if request.flavour == "tensorrt" else None
    if folder is None:
        return None
    path = folder / f"{trt.__version__}-sm{request.compute_capability.replace('.', '')}.cache"
    cache = config.create_timing_cache(path.read_bytes() if path.exists() else b"")
    config.set_timing_cache(cache, ignore_mismatch=False)
    return path


def _keep_timing_cache(config: Any, path: Path | None) -> None:
    if path is not None:
        with suppress(OSError), replace_file(path) as part:
            part.write_bytes(memoryview(config.get_timing_cache().serialize()))
