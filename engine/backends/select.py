"""Which runtimes are usable on this machine, and the choice among them."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace

from engine.backends.base import Backend
from engine.bundle.folder import Bundle
from engine.bundle.manifest import PRECISIONS
from engine.bundle.request import GenerateRequest
from engine.errors import CytosynthError, RequestError

__all__ = [
    "AUTO",
    "BACKENDS",
    "PROBES",
    "Status",
    "choose_backend",
    "distinct_precisions",
    "open_backend",
    "probe",
    "settled",
]

AUTO = "auto"


@dataclass(frozen=True)
class Status:
    """Whether a backend can be used here."""

    name: str
    usable: bool
    detail: str
    """What it is, or exactly why it is not usable."""
    install: str
    """How to get it."""
    rank: int
    """The higher the faster, among the usable ones."""
    on_gpu: bool = False


def _installed(module: str) -> str | None:
    """Import a module; why it cannot be imported, or None."""
    try:
        if importlib.util.find_spec(module) is None:
            return f"the package {module} is not installed"
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        return f"the package {error.name} is not installed, for {module}"
    except Exception as error:
        return f"importing {module} failed: {error}"
    return None


def _probe_openvino() -> Status:
    install = "pip install openvino"
    if problem := _installed("openvino"):
        return Status("openvino", False, problem, install, 0)
    import openvino as ov

    from engine.backends.openvino import the_core

    core = the_core()
    if "CPU" not in core.available_devices:
        return Status("openvino", False, "it finds no CPU plugin", install, 0)
    name = core.get_property("CPU", "FULL_DEVICE_NAME")
    bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    detail = f"{ov.get_version().split('-')[0]} on {name}, {'bf16' if bf16 else 'f32'} by default"
    return Status("openvino", True, detail, install, 2)


def _probe_onnxruntime() -> Status:
    install = "pip install 'cytosynth[onnxruntime]', or 'cytosynth[cuda]' for an NVIDIA GPU"
    if problem := _installed("onnxruntime"):
        return Status("onnxruntime", False, problem, install, 0)
    import onnxruntime as ort

    ort.disable_telemetry_events()
    from engine.backends.onnxruntime import cuda_problem

    no_cuda = cuda_problem()
    detail = f"{ort.__version__} on " + ("CUDA" if no_cuda is None else f"the CPU ({no_cuda})")
    on_gpu = no_cuda is None
    return Status("onnxruntime", True, detail, install, 3 if on_gpu else 1, on_gpu)


def _probe_tensorrt() -> Status:
    """Usable where a flavour's libraries and a GPU are; a bundle's plans are looked at when it is opened."""
    install = "pip install 'cytosynth[rtx]' or 'cytosynth[tensorrt]', then `python -m exporter tensorrt BUNDLE`"
    problems = []
    for module in ("tensorrt", "tensorrt_rtx", "cuda.bindings.runtime"):
        if problem := _installed(module):
            problems.append(problem)
    if len(problems) < 2 and not any("cuda" in problem for problem in problems):
        from engine.backends.tensorrt import MODULES, load_api

        for flavour, module in MODULES.items():
            if any(module in problem.split() for problem in problems):
                continue
            api = load_api(flavour)
            error, count = api.cudart.cudaGetDeviceCount()
            if int(error) == 0 and count:
                gpu = api.compute_capability()
                return Status("tensorrt", True, f"{module} {api.version} on compute capability {gpu}", install, 4, True)
            problems.append(f"{module} {api.version} finds no GPU (cudaError {int(error)})")
    return Status("tensorrt", False, "; ".join(problems), install, 0)


PROBES: dict[str, Callable[[], Status]] = {
    "openvino": _probe_openvino,
    "onnxruntime": _probe_onnxruntime,
    "tensorrt": _probe_tensorrt,
}
BACKENDS = tuple(PROBES)


def probe() -> list[Status]:
    """The state of every backend on this machine."""
    return [look() for look in PROBES.values()]


def choose_backend(
    name: str, precision: str = "auto", bundle: Bundle | None = None, request: GenerateRequest | None = None
) -> tuple[str, str]:
    """The backend to use and why: a name is taken if it is usable, "auto" is the fastest that is and, for TensorRT,
    that the bundle has plans for that fit the request. OpenVINO alone computes in float32, and 8-bit graphs are for
    the CPU.

    Raises RequestError where there is none, or where it cannot compute in the precision that is asked.
    """
    if precision == "f32":
        if name not in (AUTO, "openvino"):
            raise RequestError(
                f"--precision f32 with --backend {name}",
                found="a backend that computes in the graphs' own float16",
                expected="openvino",
                fix="leave out one of the two",
            )
        name = "openvino"
    if name != AUTO:
        if name not in BACKENDS:
            raise RequestError(
                "--backend", found=name, expected=f"one of {', '.join((AUTO, *BACKENDS))}", fix="choose one of these"
            )
        status = PROBES[name]()
        if precision == "int8":
            status = _on_the_cpu(status)
        if not status.usable:
            raise RequestError(f"The backend {name}", found=status.detail, expected="usable", fix=status.install)
        return name, f"{name} {status.detail}, as asked"
    found = [_with_plans(status, bundle, request) for status in probe()]
    if precision == "int8":
        found = [_on_the_cpu(status) for status in found]
    usable = sorted((status for status in found if status.usable), key=lambda status: -status.rank)
    if not usable:
        reasons = "; ".join(f"{status.name}: {status.detail}" for status in found)
        raise RequestError("--backend auto", found=reasons, expected="a usable backend", fix=found[0].install)
    best, *others = usable
    than = f", the fastest of {', '.join(status.name for status in usable)}" if others else ", the only one usable"
    return best.name, f"{best.name} {best.detail}{than}"


def _on_the_cpu(status: Status) -> Status:
    """8-bit graphs are calibrated for processors; on a GPU float16 is at hand."""
    if not status.usable or not status.on_gpu:
        return status
    return replace(
        status,
        usable=False,
        detail="--precision int8 is for the CPU",
        install="leave the precision out, or the backend",
    )


def distinct_precisions(bundle: Bundle, request: GenerateRequest) -> tuple[str, ...]:
    """The precisions of OpenVINO that differ here: f32, auto where that is something else, int8 where the bundle has
    it."""
    names = [name for name in bundle.manifest.precisions if name != AUTO]
    # The later of two equal versions is kept.
    versions = {open_backend(bundle, replace(request, precision=name)).version: name for name in (AUTO, *names)}
    return tuple(versions.values())


def settled(request: GenerateRequest, backend: str, precision: str | None) -> GenerateRequest:
    """The request on a chosen backend. precision: what was asked for by name; a preset's int8, which nobody asked for,
    gives way to the graphs' own float16 on every backend but OpenVINO: on a GPU there are no such graphs, and ONNX
    Runtime, which rounds the weights in every call, takes three times as long with them (docs/benchmarks.md)."""
    if precision is None and request.precision == "int8" and backend != "openvino":
        request = replace(request, precision=PRECISIONS[0])
    return replace(request, backend=backend)


def _with_plans(status: Status, bundle: Bundle | None, request: GenerateRequest | None) -> Status:
    """TensorRT is no choice where the bundle has no plans that fit; the reason is kept."""
    if status.name != "tensorrt" or not status.usable:
        return status
    if bundle is None or request is None:
        return replace(status, usable=False, detail=f"{status.detail}; plans are a bundle's own")
    from engine.backends.tensorrt import choose_for, installed_api

    try:
        choose_for(bundle, installed_api(bundle), request)
    except CytosynthError as error:
        return replace(status, usable=False, detail=f"{status.detail}; plans: {error.found}")
    return status


def open_backend(bundle: Bundle, request: GenerateRequest) -> Backend:
    """Open the backend that a request names. Only OpenVINO computes otherwise than in the graphs' own precision."""
    name, precision, threads = request.backend, request.precision, request.threads
    if name == "openvino":
        from engine.backends.openvino import OpenVINOBackend

        return OpenVINOBackend(precision=precision, threads=threads)
    if name == "tensorrt":
        from engine.backends.tensorrt import TensorRTBackend, installed_api

        return TensorRTBackend(bundle, request, installed_api(bundle))
    from engine.backends.onnxruntime import ORTBackend

    return ORTBackend(threads=threads)
