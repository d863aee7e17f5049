"""The choice of a backend: which runtimes are usable on this machine, and which one is the fastest."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace

from engine.backends.base import Backend
from engine.bundle.job import Job
from engine.bundle.presets import PRECISIONS
from engine.bundle.settings import AUTO, BACKENDS, HardwareSettings
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
    "settle",
    "settled",
]

CUDA_MODULE = "cuda.bindings.runtime"
"""The module of CUDA's runtime, which both flavours of TensorRT need."""


@dataclass(frozen=True)
class Status:
    """Whether a backend is usable on this machine."""

    name: str
    usable: bool
    detail: str
    """Version and hardware, or the exact reason why the backend is not usable."""
    install: str
    """How to install the backend."""
    rank: int
    """Expected speed: the usable backend of the highest rank is the fastest."""
    on_gpu: bool = False


def _installed(module: str) -> str | None:
    """Import a module. Return why it cannot be imported, or None."""
    try:
        if importlib.util.find_spec(module) is None:
            return f"the package {module} is not installed"
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        return f"the package {error.name}, which {module} needs, is not installed"
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
        return Status("openvino", False, "it has no CPU plugin", install, 0)
    name = core.get_property("CPU", "FULL_DEVICE_NAME")
    bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    detail = f"{ov.get_version().split('-')[0]} on {name}, {'bf16' if bf16 else 'f32'} by default"
    return Status("openvino", True, detail, install, 2)


def _probe_onnxruntime() -> Status:
    install = "pip install 'cytosynth[onnxruntime]', or 'cytosynth[cuda]' for an NVIDIA GPU"
    if problem := _installed("onnxruntime"):
        return Status("onnxruntime", False, problem, install, 0)
    import onnxruntime as ort

    from engine.backends.onnxruntime import cuda_problem

    no_cuda = cuda_problem()
    detail = f"{ort.__version__} on " + ("CUDA" if no_cuda is None else f"the CPU ({no_cuda})")
    on_gpu = no_cuda is None
    return Status("onnxruntime", True, detail, install, 3 if on_gpu else 1, on_gpu)


def _probe_tensorrt() -> Status:
    """Return usable if the libraries of a flavour and a GPU exist. The plans of a bundle are checked on opening."""
    install = "pip install 'cytosynth[rtx]' or 'cytosynth[tensorrt]', then `python -m exporter tensorrt BUNDLE`"
    modules = ("tensorrt", "tensorrt_rtx", CUDA_MODULE)
    missing = {module: problem for module in modules if (problem := _installed(module))}
    problems = [*missing.values()]
    if CUDA_MODULE not in missing:
        from engine.backends.tensorrt import MODULES, load_api

        for flavour, module in MODULES.items():
            if module in missing:
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


def probe() -> list[Status]:
    """Return the status of every backend on this machine."""
    return [look() for look in PROBES.values()]


def choose_backend(name: str, precision: str = AUTO, job: Job | None = None) -> tuple[str, str]:
    """Return the name of the backend to use, and the reason.

    A backend given by name is taken if it is usable. "auto" takes the fastest usable backend; TensorRT counts only if
    the bundle of the job has plans that fit its request. Only OpenVINO computes in float32, and 8-bit graphs run on
    the CPU only. Raises RequestError if no backend is usable or none computes in the precision.
    """
    if precision == "f32":
        if name not in (AUTO, "openvino"):
            raise RequestError(
                f"--precision f32 with --backend {name}",
                found="a backend that computes in float16",
                expected="openvino",
                fix="leave out one of these options",
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
            raise RequestError(
                f"The backend {name}", found=status.detail, expected="a usable backend", fix=status.install
            )
        return name, f"{name} {status.detail}, {'in float32 ' if precision == 'f32' else ''}as requested"
    found = [_with_plans(status, job) for status in probe()]
    if precision == "int8":
        found = [_on_the_cpu(status) for status in found]
    usable = sorted((status for status in found if status.usable), key=lambda status: -status.rank)
    if not usable:
        reasons = "; ".join(f"{status.name}: {status.detail}" for status in found)
        raise RequestError("--backend auto", found=reasons, expected="a usable backend", fix=found[0].install)
    best, *others = usable
    than = f", the fastest of {', '.join(status.name for status in usable)}" if others else ", the only usable backend"
    return best.name, f"{best.name} {best.detail}{than}"


def _on_the_cpu(status: Status) -> Status:
    """Return the status for 8-bit graphs, which are made for processors. A GPU computes in float16."""
    if not status.usable or not status.on_gpu:
        return status
    return replace(
        status,
        usable=False,
        detail="--precision int8 is for the CPU",
        install="leave out --precision or --backend",
    )


def distinct_precisions(job: Job) -> tuple[str, ...]:
    """Return the precisions of OpenVINO that differ on this machine.

    These are f32, auto if the processor computes it in another format, and int8 if the bundle has 8-bit graphs.
    """
    names = [name for name in job.bundle.manifest.precisions_of(job.request.preset) if name != AUTO]
    # Of two precisions with the same version, the later one is kept.
    versions = {open_backend(job.changed(backend="openvino", precision=name)).version: name for name in (AUTO, *names)}
    return tuple(versions.values())


def settle(job: Job, hardware: HardwareSettings) -> tuple[Job, str]:
    """Return the job with the backend and the arithmetic that its settings choose, and why in words."""
    wanted = AUTO if hardware.precision is None and job.request.precision == "int8" else job.request.precision
    backend, why = choose_backend(hardware.backend, wanted, job)
    return settled(job, backend, hardware.precision), why


def settled(job: Job, backend: str, precision: str | None) -> Job:
    """Return the job on a chosen backend.

    precision: the precision that was asked for explicitly. If it is None, int8 comes from a preset, and backends other
    than OpenVINO compute in float16 instead: on a GPU there are no 8-bit graphs, and ONNX Runtime, which rounds the
    weights in every call, takes three times as long with 8-bit graphs (docs/benchmarks.md).
    """
    if precision is None and job.request.precision == "int8" and backend != "openvino":
        return job.changed(backend=backend, precision=PRECISIONS[0])
    return job.changed(backend=backend)


def _with_plans(status: Status, job: Job | None) -> Status:
    """Return the status of TensorRT as not usable, with the reason, unless the bundle has plans that fit the job."""
    if status.name != "tensorrt" or not status.usable:
        return status
    if job is None:
        return replace(status, usable=False, detail=f"{status.detail}; needs the plans of a bundle")
    from engine.backends.tensorrt import choose_for, installed_api

    try:
        choose_for(job, installed_api(job.bundle))
    except CytosynthError as error:
        return replace(status, usable=False, detail=f"{status.detail}; plans: {error.found}")
    return status


def open_backend(job: Job) -> Backend:
    """Open the backend that the request names. Every backend except OpenVINO computes in the format of the graphs."""
    name, precision, threads = job.request.backend, job.request.precision, job.request.threads
    if name == "openvino":
        from engine.backends.openvino import OpenVINOBackend

        return OpenVINOBackend(precision=precision, threads=threads)
    if name == "tensorrt":
        from engine.backends.tensorrt import TensorRTBackend, installed_api

        return TensorRTBackend(job, installed_api(job.bundle))
    from engine.backends.onnxruntime import ORTBackend

    return ORTBackend(precision=precision, threads=threads)
