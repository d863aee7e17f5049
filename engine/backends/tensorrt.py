"""TensorRT and TensorRT for RTX on an NVIDIA GPU: one runner for the plans of both."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from engine.backends.base import Arithmetic, Arrays, Signature, check_signature
from engine.bundle.folder import Bundle
from engine.bundle.job import Job
from engine.bundle.plans import PlanFolder, choose_plans, read_plans, wanted_graphs
from engine.cache import cached_file, read_cached, write_cached
from engine.errors import CytosynthError, RequestError

__all__ = ["MODULES", "TensorRTApi", "TensorRTBackend", "choose_for", "installed_api", "load_api"]

MODULES = {"tensorrt": "tensorrt", "rtx": "tensorrt_rtx"}
"""The Python module of each flavour, in the order of preference."""


@dataclass(frozen=True)
class TensorRTApi:
    """The libraries: TensorRT of one flavour, and CUDA's runtime."""

    trt: Any
    cudart: Any
    flavour: str

    @property
    def version(self) -> str:
        """Version of TensorRT."""
        return str(self.trt.__version__)

    def cuda(self, name: str, *arguments: Any) -> Any:
        """Call a function of CUDA's runtime. Return its result, or a tuple of results. Raises CytosynthError."""
        error, *results = getattr(self.cudart, name)(*arguments)
        if int(error) != 0:
            raise CytosynthError(
                f"CUDA's {name}",
                found=f"error {int(error)} ({getattr(error, 'name', '')})",
                expected="success",
                fix="check the GPU with `engine doctor`, or use a smaller --batch-size, which needs less memory",
            )
        return results[0] if len(results) == 1 else tuple(results)

    def compute_capability(self) -> str:
        """Return the compute capability of the first GPU, for example "8.6"."""
        properties = self.cuda("cudaGetDeviceProperties", 0)
        return f"{properties.major}.{properties.minor}"


def load_api(flavour: str) -> TensorRTApi:
    """Return the libraries of a flavour. Raises ImportError."""
    cudart = importlib.import_module("cuda.bindings.runtime")
    return TensorRTApi(importlib.import_module(MODULES[flavour]), cudart, flavour)


def installed_api(bundle: Bundle) -> TensorRTApi:
    """Return the installed libraries. If both flavours are installed, prefer the one that the bundle has plans for.

    Raises RequestError if neither can be imported.
    """
    built = {folder.flavour for folder in read_plans(bundle)}
    problems = []
    for flavour in sorted(MODULES, key=lambda flavour: flavour not in built):
        try:
            return load_api(flavour)
        except Exception as error:  # bindings without their libraries fail in many ways
            problems.append(f"{MODULES[flavour]}: {error}")
    raise RequestError(
        "The backend tensorrt",
        found="; ".join(problems),
        expected="one of these modules",
        fix="see `engine doctor` for how to install them",
    )


def _graphs_of(job: Job) -> dict[str, tuple[str, ...]]:
    names, preset = job.request.class_names, job.request.preset
    return wanted_graphs(job.bundle, names, encoder=job.initial is not None, preset=preset)


def choose_for(job: Job, api: TensorRTApi) -> PlanFolder:
    """Return the plans that fit a job on this GPU. Raises RequestError."""
    request = job.request
    if request.hires is not None:
        raise RequestError(
            "A hires fix with --backend tensorrt",
            found="two sizes in one request",
            expected="one size, because each plan is built for one",
            fix="use --backend openvino or onnxruntime",
        )
    return choose_plans(
        job.bundle,
        flavour=api.flavour,
        version=api.version,
        compute_capability=api.compute_capability(),
        graphs=_graphs_of(job),
        batch_size=request.batch_size,
        picture_size=(request.width, request.height),
    )


class TensorRTBackend:
    """Runs the plans of a bundle. Raises RequestError if no plan fits the request, the GPU and the version."""

    name = "tensorrt"
    takes_long_context = False
    on_gpu = True
    arithmetic: Arithmetic = "float16"

    def __init__(self, job: Job, api: TensorRTApi) -> None:
        self._plans = choose_for(job, api)
        for graph in _graphs_of(job):
            # Find damaged plans of every class before the folder of a run is touched.
            self._plans.open(graph)
        self.version = f"{MODULES[api.flavour]} {api.version} on compute capability {api.compute_capability()}"
        self.device = TensorRTDevice(api, self._plans)
        # Decoding has its own stream. It runs in parallel to the next trajectory, and is never captured with it.
        self._beside = TensorRTDevice(api, self._plans)

    def open(self, path: Path, inputs: Signature, outputs: tuple[str, ...]) -> TensorRTModel:
        """See engine.backends.base.Backend."""
        return TensorRTModel(self._beside.open_context(path, inputs, dict.fromkeys(outputs)), self._beside)


class TensorRTDevice:
    """The memory of a GPU, and one stream."""

    alignment_bytes = 256

    def __init__(self, api: TensorRTApi, plans: PlanFolder) -> None:
        self._api, self._plans = api, plans
        self.stream = api.cuda("cudaStreamCreate")
        self._logger = api.trt.Logger(api.trt.Logger.WARNING)
        self._runtime = api.trt.Runtime(self._logger)
        # An engine holds its weights on the GPU. The contexts of a graph share one, freed with the last context.
        self._engines: WeakValueDictionary[str, Any] = WeakValueDictionary()

    def allocate(self, shape: tuple[int, ...], dtype: Any = np.float32) -> CudaBuffer:
        """See engine.backends.base.Device."""
        return CudaBuffer(self._api, self.stream, shape, np.dtype(dtype))

    def open_context(self, path: Path, inputs: Signature, outputs: Mapping[str, Any]) -> TensorRTContext:
        """See engine.backends.base.Device."""
        engine = self._engine(path)
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        is_input = {name: engine.get_tensor_mode(name) == self._api.trt.TensorIOMode.INPUT for name in names}
        types = {name: np.dtype(self._api.trt.nptype(engine.get_tensor_dtype(name))).name for name in names}
        check_signature(path, "inputs", {name: types[name] for name in names if is_input[name]}, inputs)
        check_signature(path, "outputs", {name: types[name] for name in names if not is_input[name]}, outputs)
        return TensorRTContext(self, self._api, engine, path.name, inputs, self._kernels_of(path.name, inputs))

    def _kernels_of(self, name: str, inputs: Signature) -> Path | None:
        """Return the cached file of the kernels that TensorRT for RTX compiles for a plan at these shapes."""
        api, plan = self._api, self._plans.plans[name]
        shapes = repr(sorted((tensor, tuple(shape)) for tensor, shape in inputs.items()))
        return cached_file("tensorrt-rtx", [api.version, api.compute_capability(), plan.sha256, shapes])

    def _engine(self, path: Path) -> Any:
        engine = self._engines.get(path.name)
        if engine is None:
            engine = self._runtime.deserialize_cuda_engine(self._plans.open(path.name))
            if engine is None:
                raise CytosynthError(
                    f"The plan of {path.name} in {self._plans.folder}",
                    found="a plan that TensorRT cannot read",
                    expected=f"a plan built by TensorRT {self._api.version}",
                    fix="build the plan again with `python -m exporter tensorrt`",
                )
            self._engines[path.name] = engine
        return engine

    def capture(self, work: Callable[[], None]) -> CudaGraph:
        """Return a CUDA graph of everything that `work` starts on the stream."""
        api = self._api
        mode = api.cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        api.cuda("cudaStreamBeginCapture", self.stream, mode)
        try:
            work()
        finally:
            graph = api.cuda("cudaStreamEndCapture", self.stream)
        return CudaGraph(api, self.stream, graph)

    def __del__(self) -> None:
        self._api.cuda("cudaStreamDestroy", self.stream)


class CudaGraph:
    """The captured work of a stream, launched as one."""

    def __init__(self, api: TensorRTApi, stream: Any, graph: Any) -> None:
        self._api, self._stream, self._graph = api, stream, graph
        self._executable = api.cuda("cudaGraphInstantiate", graph, 0)

    def __call__(self) -> None:
        self._api.cuda("cudaGraphLaunch", self._executable, self._stream)

    def __del__(self) -> None:
        self._api.cuda("cudaGraphExecDestroy", self._executable)
        self._api.cuda("cudaGraphDestroy", self._graph)


class CudaBuffer:
    """GPU memory that is zero at first."""

    def __init__(self, api: TensorRTApi, stream: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._api, self._stream, self._shape, self._dtype = api, stream, shape, dtype
        self._bytes = int(np.prod(shape)) * dtype.itemsize
        self.pointer = 0
        self.pointer = int(api.cuda("cudaMalloc", self._bytes))
        api.cuda("cudaMemsetAsync", self.pointer, 0, self._bytes, stream)

    def write(self, values: NDArray[Any]) -> None:
        """See engine.backends.base.Buffer."""
        host = np.ascontiguousarray(values, self._dtype)
        assert host.nbytes == self._bytes, "a buffer is always written completely"
        kind = self._api.cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._api.cuda("cudaMemcpyAsync", self.pointer, host.ctypes.data, self._bytes, kind, self._stream)
        # The host's array may be freed before an asynchronous copy ends.
        self._api.cuda("cudaStreamSynchronize", self._stream)

    def read(self) -> NDArray[Any]:
        """See engine.backends.base.Buffer."""
        host = np.empty(self._shape, self._dtype)
        kind = self._api.cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._api.cuda("cudaMemcpyAsync", host.ctypes.data, self.pointer, self._bytes, kind, self._stream)
        self._api.cuda("cudaStreamSynchronize", self._stream)
        return host

    def free(self) -> None:
        """Free the memory."""
        if self.pointer:
            self._api.cuda("cudaFree", self.pointer)
            self.pointer = 0

    def __del__(self) -> None:
        self.free()


class TensorRTContext:
    """An execution context at fixed shapes. The kernels that TensorRT for RTX compiles at the first run are cached."""

    def __init__(
        self,
        device: TensorRTDevice,
        api: TensorRTApi,
        engine: Any,
        name: str,
        inputs: Signature,
        cache: Path | None,
    ) -> None:
        self._device, self._api, self.engine = device, api, engine
        self._kernels: Any = None
        self._kernels_file = cache
        if api.flavour == "rtx" and cache is not None:
            config = engine.create_runtime_config()
            self._kernels = config.create_runtime_cache()
            kernels = read_cached(cache)
            if kernels is not None:
                self._kernels.deserialize(kernels.tobytes())
            config.set_runtime_cache(self._kernels)
            self._context = engine.create_execution_context(config)
        else:
            self._context = engine.create_execution_context()
        for tensor, shape in inputs.items():
            if not self._context.set_input_shape(tensor, shape):
                low, _, high = engine.get_tensor_profile_shape(tensor, 0)
                raise CytosynthError(
                    f"The plan of {name}, input {tensor}",
                    found=f"the shape {tuple(shape)}",
                    expected=f"between {tuple(low)} and {tuple(high)}",
                    fix="use a --batch-size and picture size that the plan was built for, or build another plan",
                )

    def output_shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an output for the opened input shapes."""
        return tuple(self._context.get_tensor_shape(name))

    def output_dtype(self, name: str) -> Any:
        """Return the NumPy dtype of an output."""
        return self._api.trt.nptype(self.engine.get_tensor_dtype(name))

    def run(self, pointers: Mapping[str, int]) -> None:
        """See engine.backends.base.Context."""
        for name, pointer in pointers.items():
            self._context.set_tensor_address(name, pointer)
        if not self._context.execute_async_v3(self._device.stream):
            raise CytosynthError(
                "The execution by TensorRT",
                found="a failure",
                expected="success",
                fix="rebuild the plan with `python -m exporter tensorrt BUNDLE`",
            )

    def close(self) -> None:
        """Free the context, and save its compiled kernels."""
        if self._kernels is not None:
            write_cached(self._kernels_file, bytes(self._kernels.serialize()))
        del self._context, self.engine


class TensorRTModel:
    """A context that takes its inputs from host memory."""

    def __init__(self, context: TensorRTContext, device: TensorRTDevice) -> None:
        self._context, self._device = context, device
        self._buffers: dict[str, CudaBuffer] = {}
        self._outputs: tuple[str, ...] = ()

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run once; see engine.backends.base.Model."""
        if not self._buffers:
            self._buffers = {name: self._device.allocate(value.shape, value.dtype) for name, value in inputs.items()}
            names = [self._context.engine.get_tensor_name(i) for i in range(self._context.engine.num_io_tensors)]
            self._outputs = tuple(name for name in names if name not in inputs)
            for name in self._outputs:
                shape, dtype = self._context.output_shape(name), self._context.output_dtype(name)
                self._buffers[name] = self._device.allocate(shape, dtype)
        for name, value in inputs.items():
            self._buffers[name].write(value)
        self._context.run({name: buffer.pointer for name, buffer in self._buffers.items()})
        return {name: self._buffers[name].read() for name in self._outputs}

    def close(self) -> None:
        """Free the context and its buffers."""
        self._context.close()
        for buffer in self._buffers.values():
            buffer.free()
