"""TensorRT's and CUDA's places on a machine without a GPU: plans are the ONNX graphs' paths, run by ONNX Runtime on
the addresses that the runner binds, and "device" memory is NumPy's. Every call on the stream is recorded."""

from __future__ import annotations

import ctypes
import enum
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime as ort

from engine.backends.tensorrt import TensorRTApi

__all__ = ["make_api"]

DTYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(bool)": np.bool_, "tensor(int64)": np.int64}
MAX_BATCH = 8


class Cuda:
    """cuda.bindings.runtime, as far as the runner uses it."""

    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)  # noqa: N815
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)  # noqa: N815

    def __init__(self):
        self.memory, self.log, self.captured, self.replays, self.live = {}, [], None, 0, 0

    def submit(self, work):
        """Work on the stream: recorded while a graph is captured, done otherwise."""
        if self.captured is not None:
            self.captured.append(work)
        else:
            work()

    def cudaGetDeviceProperties(self, device):  # noqa: N802
        return 0, SimpleNamespace(major=8, minor=6)

    def cudaStreamCreate(self):  # noqa: N802
        self.live += 1
        return 0, 7

    def cudaStreamDestroy(self, stream):  # noqa: N802
        self.live -= 1
        return (0,)

    def cudaMalloc(self, size):  # noqa: N802
        # NumPy aligns to 16 bytes only; the runner promises 256.
        memory = np.full(size + 256, 0xFF, np.uint8)
        address = -(-memory.ctypes.data // 256) * 256
        self.memory[address] = memory
        return 0, address

    def cudaFree(self, address):  # noqa: N802
        del self.memory[address]
        return (0,)

    def cudaMemsetAsync(self, address, value, size, stream):  # noqa: N802
        assert self.captured is None, "no memory is set inside a graph"
        ctypes.memset(address, value, size)
        return (0,)

    def cudaMemcpyAsync(self, target, source, size, kind, stream):  # noqa: N802
        assert self.captured is None, "no host memory is copied inside a graph"
        ctypes.memmove(target, source, size)
        return (0,)

    def cudaStreamSynchronize(self, stream):  # noqa: N802
        assert self.captured is None, "no graph holds a synchronisation"
        return (0,)

    def cudaStreamBeginCapture(self, stream, mode):  # noqa: N802
        self.captured = []
        return (0,)

    def cudaStreamEndCapture(self, stream):  # noqa: N802
        graph, self.captured = self.captured, None
        return 0, graph

    def cudaGraphInstantiate(self, graph, flags):  # noqa: N802
        self.live += 2
        return 0, graph

    def cudaGraphExecDestroy(self, executable):  # noqa: N802
        self.live -= 1
        return (0,)

    def cudaGraphDestroy(self, graph):  # noqa: N802
        self.live -= 1
        return (0,)

    def cudaGraphLaunch(self, graph, stream):  # noqa: N802
        self.replays += 1
        for work in graph:
            work()
        return (0,)


class Context:
    """An execution context."""

    def __init__(self, engine):
        self.engine, self.shapes, self.addresses = engine, {}, {}

    def set_input_shape(self, name, shape):
        if shape and len(shape) > 1 and shape[0] > 2 * MAX_BATCH:
            return False
        self.shapes[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name):
        batch = self.shapes["latents"][0]
        if name == "finite":
            return (batch,)
        return (batch, 4 * self.shapes["latents"][2], 4 * self.shapes["latents"][3], 3)

    def set_tensor_address(self, name, address):
        assert address % 256 == 0, f"{name} is not aligned"
        assert any(start <= address < start + len(m) for start, m in self.engine.cuda.memory.items()), name
        self.addresses[name] = address

    def execute_async_v3(self, stream):
        addresses, shapes = dict(self.addresses), dict(self.shapes)
        assert addresses.keys() == {*self.engine.names}, "every input and output is bound"

        def work():
            session = self.engine.session
            binding = session.io_binding()
            for value in session.get_inputs():
                binding.bind_input(value.name, "cpu", 0, DTYPES[value.type], shapes[value.name], addresses[value.name])
            for value in session.get_outputs():
                binding.bind_output(value.name, "cpu")
            session.run_with_iobinding(binding)
            for value, result in zip(session.get_outputs(), binding.copy_outputs_to_cpu(), strict=True):
                result = np.ascontiguousarray(result)
                ctypes.memmove(addresses[value.name], result.ctypes.data, result.nbytes)
            self.engine.cuda.log.append((self.engine.graph.name, shapes.get("latents", shapes.get("x"))[0]))

        self.engine.cuda.submit(work)
        return True


class Engine:
    """A deserialised plan."""

    def __init__(self, plan, cuda, mode):
        self.graph = Path(plan.decode())
        self.session = ort.InferenceSession(self.graph, providers=["CPUExecutionProvider"])
        self.cuda, self.mode = cuda, mode
        self.inputs = {value.name: value for value in self.session.get_inputs()}
        self.names = [*self.inputs, *(value.name for value in self.session.get_outputs())]
        self.outputs = {value.name: value for value in self.session.get_outputs()}
        self.num_io_tensors = len(self.names)

    def get_tensor_name(self, index):
        return self.names[index]

    def get_tensor_mode(self, name):
        return self.mode.INPUT if name in self.inputs else self.mode.OUTPUT

    def get_tensor_dtype(self, name):
        return DTYPES[{**self.inputs, **self.outputs}[name].type]

    def get_tensor_profile_shape(self, name, profile):
        return (2, 4, 8, 8), (2, 4, 8, 8), (2 * MAX_BATCH, 4, 8, 8)

    def create_execution_context(self, config=None):
        return Context(self)

    def create_runtime_config(self):
        kept = SimpleNamespace(serialize=lambda: b"kernels", deserialize=lambda content: True)
        return SimpleNamespace(create_runtime_cache=lambda: kept, set_runtime_cache=lambda cache: True)


def make_api(flavour="rtx", version="1.7.1"):
    """An api for the runner; `api.cudart.log` holds (graph, batch) of every execution that was done."""
    cuda = Cuda()

    class TensorIOMode(enum.Enum):
        INPUT = 0
        OUTPUT = 1

    def deserialize(plan):
        return None if plan == b"garbage" else Engine(plan, cuda, TensorIOMode)

    class Logger:
        WARNING = 1

        def __init__(self, level):
            pass

    trt = SimpleNamespace(
        __version__=version,
        Logger=Logger,
        Runtime=lambda logger: SimpleNamespace(deserialize_cuda_engine=deserialize),
        TensorIOMode=TensorIOMode,
        nptype=lambda dtype: dtype,
    )
    return TensorRTApi(trt, cuda, flavour)
