"""What the pipeline needs of a runtime: open a graph at fixed shapes, run it, close it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from engine.errors import CytosynthError

__all__ = ["Arrays", "Model", "OpenModel", "Signature", "check_signature"]

Arrays = Mapping[str, NDArray[Any]]
Signature = Mapping[str, tuple[int, ...]]
"""Shapes by tensor name."""


class Model(Protocol):
    """A graph that was opened at fixed input shapes."""

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run once. inputs: arrays of the shapes given at opening, by name. Returns fresh arrays by output name."""
        ...

    def close(self) -> None:
        """Free what the runtime holds."""
        ...


class OpenModel(Protocol):
    """Opens the graph at `path` for inputs of exactly these shapes, and checks its names against the contract."""

    def __call__(self, path: Path, inputs: Signature, outputs: tuple[str, ...]) -> Model: ...


def check_signature(path: Path, what: str, found: set[str], expected: set[str]) -> None:
    """Raise CytosynthError unless the graph's tensor names are the contract's."""
    if found != expected:
        raise CytosynthError(
            f"The graph {path}, its {what}",
            found=", ".join(sorted(found)) or "none",
            expected=", ".join(sorted(expected)),
            mend="export the bundle again with the exporter of this version",
        )
