"""Backends that keep what goes into a UNet and comes out of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from engine.backends.base import Arrays, Backend, Signature

__all__ = ["Function", "FunctionModel", "Recorder", "recorder_of"]

Function = Callable[[Arrays], dict[str, NDArray[Any]]]
Call = tuple[Arrays, dict[str, NDArray[Any]]]


class FunctionModel:
    """An engine model made of a function; its calls go into a list."""

    def __init__(self, function: Function, calls: list[Call]) -> None:
        self.function, self._calls = function, calls

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Call the function."""
        outputs = self.function(inputs)
        self._calls.append((inputs, outputs))
        return outputs

    def close(self) -> None:
        """Nothing to free."""


class Recorder:
    """A backend of functions. `calls`: inputs and outputs of the UNet, in order."""

    name = version = "recorder"
    on_gpu = False
    device = None

    def __init__(self, open_function: Callable[[Path, Signature, tuple[str, ...]], Function]) -> None:
        self._open = open_function
        self._unets: dict[int, FunctionModel] = {}
        self.calls: list[Call] = []

    def open(self, path: Path, inputs: Signature, outputs: tuple[str, ...]) -> FunctionModel:
        """See engine.backends.base.Backend."""
        is_unet = outputs == ("eps",)
        model = FunctionModel(self._open(path, inputs, outputs), self.calls if is_unet else [])
        if is_unet:
            self._unets[inputs["latents"][0]] = model
        return model

    def eps(self, inputs: Arrays) -> NDArray[Any]:
        """The UNet's output for inputs of as many rows as it was opened for; this call is not kept."""
        return self._unets[len(inputs["latents"])].function(inputs)["eps"]


def recorder_of(backend: Backend) -> Recorder:
    """A backend of the host's memory, recorded."""
    return Recorder(lambda path, inputs, outputs: backend.open(path, inputs, outputs).run)
