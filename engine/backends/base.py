"""What the engine needs of a runtime: open a graph at fixed shapes, run it, close it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from engine.errors import CytosynthError, first_line

__all__ = ["Arrays", "Backend", "Buffer", "Context", "Device", "Model", "Signature", "check_signature", "runtime_error"]

Arrays = Mapping[str, NDArray[Any]]
Signature = Mapping[str, tuple[int, ...]]
"""Shapes by tensor name."""


class Model(Protocol):
    """A graph that was opened at fixed input shapes, fed from the host's memory."""

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run once. inputs: arrays of the shapes given at opening, by name. Returns fresh arrays by output name."""
        ...

    def close(self) -> None:
        """Free what the runtime holds."""
        ...


class Buffer(Protocol):
    """Memory of a device, float32."""

    pointer: int
    """Its address there."""

    def write(self, values: NDArray[Any]) -> None:
        """Copy from the host."""
        ...

    def read(self) -> NDArray[Any]:
        """Copy to the host, after everything that was started before."""
        ...


class Context(Protocol):
    """A graph that was opened at fixed shapes and works on a device's memory."""

    def run(self, pointers: Mapping[str, int]) -> None:
        """Start one execution; pointers: the address of every input and output, by name."""
        ...

    def close(self) -> None:
        """Free what the runtime holds."""
        ...


class Device(Protocol):
    """A runtime whose graphs hand their results to each other on the device."""

    alignment_bytes: int
    """What addresses of tensors must be multiples of."""

    def allocate(self, shape: tuple[int, ...]) -> Buffer:
        """Zeroed memory for float32 values of this shape."""
        ...

    def open_context(self, path: Path, inputs: Signature, outputs: Signature) -> Context:
        """Open a graph for exactly these shapes, all float32, and check its names against the contract."""
        ...

    def capture(self, work: Callable[[], None]) -> Callable[[], None] | None:
        """Record what `work` starts, without running it, for replays at the same addresses; None where none can."""
        ...


class Backend(Protocol):
    """A runtime. `version` says which, for records."""

    name: str
    version: str
    on_gpu: bool

    @property
    def device(self) -> Device | None:
        """None where graphs work on the host's memory."""
        ...

    def open(self, path: Path, inputs: Signature, outputs: tuple[str, ...]) -> Model:
        """Open the graph at `path` for inputs of exactly these shapes, and check its names against the contract."""
        ...


def runtime_error(runtime: str, path: Path | None, error: Exception) -> CytosynthError:
    """A runtime's own exception, in this project's words."""
    return CytosynthError(
        f"{runtime}" + (f" with the graph {path}" if path else ""),
        found=first_line(error),
        expected="the graph to run",
        fix="take a smaller --batch-size if memory is short; `engine verify` checks the bundle",
    )


DTYPES = {"images": "uint8", "finite": "bool", "input_ids": "int64"}
"""NumPy's names for what is not float32 in the contract."""


def check_signature(path: Path, what: str, found: Mapping[str, str], expected: Iterable[str]) -> None:
    """Raise CytosynthError unless the graph's tensors have the contract's names and types. found: type by name."""
    wanted = {name: DTYPES.get(name, "float32") for name in expected}
    if found != wanted:
        shown = [", ".join(f"{name} {kind}" for name, kind in sorted(side.items())) for side in (found, wanted)]
        raise CytosynthError(
            f"The graph {path}, its {what}",
            found=shown[0] or "none",
            expected=shown[1],
            fix="export the bundle again with the exporter of this version",
        )
