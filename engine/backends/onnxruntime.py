"""ONNX Runtime, on the CPU or on a CUDA GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from engine.backends.base import Arithmetic, Arrays, Signature, check_signature, runtime_error
from engine.errors import CytosynthError, first_line

__all__ = ["ORTBackend", "ORTDevice", "cuda_problem"]

# For Windows, whose builds report to the system's event log; elsewhere engine.privacy has switched this off already.
ort.disable_telemetry_events()

# Heuristics choose the algorithms, because a search by timing may choose others in the next process. TF32 is off.
CUDA = ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"})


TYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(bool)": "bool", "tensor(int64)": "int64"}
"""NumPy's names of the runtime's types."""


def cuda_problem() -> str | None:
    """Return why this build of ONNX Runtime cannot compute on a GPU of this machine, or None if it can."""
    if CUDA[0] not in ort.get_available_providers():
        return "this build has no CUDA"
    # CUDA and cuDNN may be in NVIDIA's packages, where the system does not look for libraries. Libraries that are
    # missing are printed; the next call names them, too.
    with redirect_stdout(StringIO()):
        ort.preload_dlls()
    try:
        ort.OrtValue.ortvalue_from_numpy(np.zeros(1, np.float32), "cuda", 0)
    except Exception as error:
        return first_line(error)
    return None


class ORTBackend:
    """Opens graphs on the first CUDA GPU if this build of ONNX Runtime supports it, otherwise on the CPU.

    It computes in the format of the graphs, which is float16 with float32 normalisation. threads: 0 lets ONNX Runtime
    choose.
    """

    name = "onnxruntime"
    takes_long_context = False

    def __init__(self, *, precision: str = "auto", threads: int = 0) -> None:
        self.arithmetic: Arithmetic = "int8" if precision == "int8" else "float16"
        cuda = cuda_problem() is None
        self._providers: list[Any] = [*([CUDA] if cuda else []), "CPUExecutionProvider"]
        self._options = ort.SessionOptions()
        self._options.intra_op_num_threads = threads
        self.version = f"onnxruntime {ort.__version__} {'CUDA' if cuda else 'CPU'}"
        self.on_gpu = cuda
        self.device = ORTDevice(self._session, "cuda" if cuda else "cpu")

    def _session(self, path: Path, inputs: Signature, outputs: set[str]) -> ort.InferenceSession:
        try:
            session = ort.InferenceSession(path, self._options, providers=self._providers)
        except Exception as error:  # ONNX Runtime's exceptions have no common base class
            raise runtime_error(self.version, path, error) from error
        if len(session.get_providers()) < len(self._providers):
            raise CytosynthError(
                f"The graph {path} on CUDA",
                found=f"ONNX Runtime used {', '.join(session.get_providers())}",
                expected="the CUDA provider",
                fix="install the versions of CUDA and cuDNN that onnxruntime-gpu requires, or use --backend openvino",
            )
        for what, values, names in (
            ("inputs", session.get_inputs(), inputs),
            ("outputs", session.get_outputs(), outputs),
        ):
            check_signature(path, what, {value.name: TYPES.get(value.type, value.type) for value in values}, names)
        return session

    def open(self, path: Path, inputs: Signature, outputs: tuple[str, ...]) -> ORTModel:
        """See engine.backends.base.Backend."""
        return ORTModel(self._session(path, inputs, set(outputs)), outputs)


class ORTModel:
    """A session that takes its inputs from host memory."""

    def __init__(self, session: ort.InferenceSession, outputs: tuple[str, ...]) -> None:
        self._session, self._outputs = session, outputs

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run once; see engine.backends.base.Model."""
        arrays = {name: np.asarray(value) for name, value in inputs.items()}
        try:
            values = self._session.run(list(self._outputs), arrays)
        except Exception as error:
            raise runtime_error("onnxruntime", None, error) from error
        return dict(zip(self._outputs, values, strict=True))

    def close(self) -> None:
        """Drop the session."""
        del self._session


class ORTDevice:
    """The memory of ONNX Runtime's device. Graphs work on it through IO binding."""

    alignment_bytes = 4

    def __init__(self, open_session: Callable[[Path, Signature, set[str]], ort.InferenceSession], kind: str) -> None:
        self._open_session, self._kind = open_session, kind

    def allocate(self, shape: tuple[int, ...]) -> ORTBuffer:
        """See engine.backends.base.Device."""
        return ORTBuffer(ort.OrtValue.ortvalue_from_numpy(np.zeros(shape, np.float32), self._kind, 0))

    def open_context(self, path: Path, inputs: Signature, outputs: Signature) -> ORTContext:
        """See engine.backends.base.Device."""
        return ORTContext(self._open_session(path, inputs, set(outputs)), inputs, outputs, self._kind)

    def capture(self, work: Callable[[], None]) -> None:
        """Return None: ONNX Runtime cannot record the work of two sessions."""


class ORTBuffer:
    """Memory held by an OrtValue."""

    def __init__(self, value: ort.OrtValue) -> None:
        self._value = value
        self.pointer: int = value.data_ptr()

    def write(self, values: NDArray[np.float32]) -> None:
        """See engine.backends.base.Buffer."""
        self._value.update_inplace(np.ascontiguousarray(values, np.float32))

    def read(self) -> NDArray[np.float32]:
        """See engine.backends.base.Buffer."""
        return np.array(self._value.numpy())


class ORTContext:
    """A session whose inputs and outputs are bound by address."""

    def __init__(self, session: ort.InferenceSession, inputs: Signature, outputs: Signature, kind: str) -> None:
        self._session, self._inputs, self._outputs, self._kind = session, inputs, outputs, kind

    def run(self, pointers: Mapping[str, int]) -> None:
        """See engine.backends.base.Context."""
        binding = self._session.io_binding()
        for name, shape in self._inputs.items():
            binding.bind_input(name, self._kind, 0, np.float32, shape, pointers[name])
        for name, shape in self._outputs.items():
            binding.bind_output(name, self._kind, 0, np.float32, shape, pointers[name])
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:
            raise runtime_error("onnxruntime", None, error) from error

    def close(self) -> None:
        """Drop the session."""
        del self._session
