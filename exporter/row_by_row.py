"""Graphs that OpenVINO runs row by row, so that one compiled graph of one row serves every batch.

A compiled UNet of Stable Diffusion's size takes gigabytes, and a loop opens one for each number of rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from engine.backends.base import Arrays, ClosedAtExit, Model
from engine.backends.openvino import OpenVINOBackend
from engine.machine import available_cores
from exporter.quantisation import EXTREMES, Range, observe

__all__ = ["Observed", "RowByRow"]


class RowByRow(ClosedAtExit):
    """A graph on OpenVINO, which is compiled when its first row runs. Use it as a context manager.

    Args:
        path: The graph's file.
        outputs: Names of the outputs.
        precision: See OpenVINOBackend.
    """

    def __init__(self, path: Path, outputs: tuple[str, ...], precision: str) -> None:
        self._path, self._outputs = path, outputs
        self._backend = OpenVINOBackend(precision=precision, threads=available_cores(), cached=False)
        self._model: Model | None = None

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Return the outputs of all rows by name."""
        rows = len(next(iter(inputs.values())))
        found = [self._run_row({name: values[i : i + 1] for name, values in inputs.items()}) for i in range(rows)]
        return {name: np.concatenate([row[name] for row in found]) for name in found[0]}

    def _run_row(self, row: Arrays) -> dict[str, NDArray[Any]]:
        if self._model is None:
            shapes = {name: values.shape for name, values in row.items()}
            self._model = self._backend.open(self._path, shapes, self._outputs)
        return self._model.run(row)

    def close(self) -> None:
        """Free the compiled graph."""
        if self._model is not None:
            self._model.close()
            self._model = None


class Observed(RowByRow):
    """A graph in float32 that records the ranges of its activations.

    A copy of the graph without its weights lies beside it while it is open, because it reads the same files of weights.

    Args:
        path: The graph's file.
        outputs: Names of the outputs.
        batch_size: Number of pictures in a batch.
        pictures: Number of pictures at the beginning of a batch that are observed.
    """

    def __init__(self, path: Path, outputs: tuple[str, ...], batch_size: int, pictures: int) -> None:
        super().__init__(path.with_name(f".observed-{path.name}"), (*outputs, EXTREMES), "f32")
        self._batch_size, self._pictures = batch_size, pictures
        model = onnx.load(path, load_external_data=False)
        self._names = observe(model)
        self._low = np.full(len(self._names), np.inf)
        self._high = -self._low
        self._path.write_bytes(model.SerializeToString())

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """See RowByRow. Rows of the same picture have the same place in every batch of the inputs."""
        outputs = super().run(inputs)
        rows = len(next(iter(inputs.values())))
        lows, highs = np.split(outputs.pop(EXTREMES).reshape(rows, -1), 2, axis=1)
        observed = np.arange(rows) % self._batch_size < self._pictures
        self._low = np.minimum(self._low, lows[observed].min(0))
        self._high = np.maximum(self._high, highs[observed].max(0))
        return outputs

    @property
    def ranges(self) -> dict[str, Range]:
        """The least and the largest value of each activation so far, by name."""
        pairs = zip(self._low.tolist(), self._high.tolist(), strict=True)
        return dict(zip(self._names, pairs, strict=True))

    def close(self) -> None:
        """Free the compiled graph and remove the copy."""
        super().close()
        self._path.unlink(missing_ok=True)
