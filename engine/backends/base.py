"""The interface of a runtime: open a graph at fixed shapes, run it, close it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, Self, runtime_checkable

from numpy.typing import NDArray

from engine.errors import CytosynthError, first_line

__all__ = [
    "Arithmetic",
    "Arrays",
    "Backend",
    "Buffer",
    "ClosedAtExit",
    "Context",
    "Device",
    "Model",
    "RowBackend",
    "Signature",
    "check_signature",
    "runtime_error",
]

Arrays = Mapping[str, NDArray[Any]]
Signature = Mapping[str, tuple[int, ...]]
"""Shapes by tensor name."""
Arithmetic = Literal["float32", "float16", "bfloat16", "int8"]
"""The coarsest number format in which a backend computes."""


class Model(Protocol):
    """A graph that was opened at fixed input shapes and takes its inputs from host memory."""

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run once. inputs: arrays of the opened shapes, by name. Returns new arrays by output name."""
        ...

    def close(self) -> None:
        """Free what the runtime holds."""
        ...


class ClosedAtExit(ABC):
    """An object that holds graphs, and a context manager that closes them."""

    @abstractmethod
    def close(self) -> None:
        """Close the graphs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Buffer(Protocol):
    """Memory of a device for float32 values."""

    pointer: int
    """Address on the device."""

    def write(self, values: NDArray[Any]) -> None:
        """Copy values from the host."""
        ...

    def read(self) -> NDArray[Any]:
        """Return a copy on the host, made after all work that was started before."""
        ...


class Context(Protocol):
    """A graph that was opened at fixed shapes and works on device memory."""

    def run(self, pointers: Mapping[str, int]) -> None:
        """Start one execution. pointers: address of every input and output, by name."""
        ...

    def close(self) -> None:
        """Free what the runtime holds."""
        ...


class Device(Protocol):
    """A runtime whose graphs pass their results to each other on the device."""

    alignment_bytes: int
    """Addresses of tensors must be multiples of this number."""

    def allocate(self, shape: tuple[int, ...]) -> Buffer:
        """Return zeroed memory for float32 values of this shape."""
        ...

    def open_context(self, path: Path, inputs: Signature, outputs: Signature) -> Context:
        """Open a graph for exactly these shapes, all float32, and check its names against the contract."""
        ...

    def capture(self, work: Callable[[], None]) -> Callable[[], None] | None:
        """Record what `work` starts, without running it.

        Returns a function that replays the record at the same addresses, or None if the runtime cannot record.
        """
        ...


class Backend(Protocol):
    """A runtime. `version` identifies the runtime in records."""

    name: str
    version: str
    on_gpu: bool
    takes_long_context: bool
    """Whether it opens a UNet for a context of more tokens than the graph states."""

    @property
    def arithmetic(self) -> Arithmetic:
        """The number format in which graphs are computed; "float16" is the format that the graphs themselves state."""
        ...

    @property
    def device(self) -> Device | None:
        """The device, or None if graphs work on host memory."""
        ...

    def open(self, path: Path, inputs: Signature, outputs: tuple[str, ...]) -> Model:
        """Open the graph at `path` for inputs of exactly these shapes, and check its names against the contract."""
        ...


@runtime_checkable
class RowBackend(Backend, Protocol):
    """A runtime that can compute some rows of a batch to the same bytes as the whole batch, in float32."""

    def open_rows(self, path: Path, inputs: Signature, outputs: tuple[str, ...], whole: int) -> Model:
        """Open a graph as `open` does, for some rows of a batch of `whole` rows."""
        ...


def runtime_error(runtime: str, path: Path | None, error: Exception) -> CytosynthError:
    """Return an exception of a runtime as an error of the engine."""
    return CytosynthError(
        f"{runtime}" + (f" with the graph {path}" if path else ""),
        found=first_line(error),
        expected="the graph to run",
        fix="use a smaller --batch-size if memory is short, and check the bundle with `engine verify`",
    )


DTYPES = {"images": "uint8", "finite": "bool", "input_ids": "int64"}
"""NumPy's names of the types of tensors that are not float32."""


def check_signature(path: Path, what: str, found: Mapping[str, str], expected: Iterable[str]) -> None:
    """Raise CytosynthError unless the tensors of a graph have the expected names and types. found: type by name."""
    wanted = {name: DTYPES.get(name, "float32") for name in expected}
    if found != wanted:
        shown = [", ".join(f"{name} {kind}" for name, kind in sorted(side.items())) for side in (found, wanted)]
        raise CytosynthError(
            f"The {what} of the graph {path}",
            found=shown[0] or "none",
            expected=shown[1],
            fix="export the bundle again with the exporter of this version",
        )
