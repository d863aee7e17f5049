"""Batches of which only the first pictures are wanted, such as the only batch of a run of one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.backends.base import Arithmetic, Arrays, Backend, Model, RowBackend, Signature

__all__ = ["first_rows"]


def first_rows(backend: Backend, wanted: int, batch_size: int) -> Backend:
    """Return a backend that computes only the first pictures of each batch, or the backend itself if it cannot.

    Its graphs take and return whole batches. The first `wanted` rows of every `batch_size` rows are what the backend
    itself computes, byte for byte. The other rows repeat the last of them. Only float32 is computed so: in 8 bits the
    bytes of a row depend on the number of rows, and in bfloat16 this was not tested.
    """
    if wanted < batch_size and isinstance(backend, RowBackend) and backend.arithmetic == "float32":
        return ShortBackend(backend, wanted, batch_size)
    return backend


class ShortBackend:
    """See first_rows."""

    def __init__(self, inner: RowBackend, wanted: int, batch_size: int) -> None:
        self._inner, self._wanted, self._batch_size = inner, wanted, batch_size
        self.name, self.version, self.on_gpu = inner.name, inner.version, inner.on_gpu
        self.takes_long_context, self.device = inner.takes_long_context, inner.device
        self.arithmetic: Arithmetic = inner.arithmetic

    def open(self, path: Path, inputs: Signature, outputs: tuple[str, ...]) -> Model:
        """See Backend. A graph that takes less than a batch at a time is opened as it is."""
        rows = {shape[0] for shape in inputs.values()}
        whole = max(rows)
        batches, rest = divmod(whole, self._batch_size)
        if rest or len(rows) > 1:
            return self._inner.open(path, inputs, outputs)
        short = {name: (batches * self._wanted, *shape[1:]) for name, shape in inputs.items()}
        return _Short(self._inner.open_rows(path, short, outputs, whole), batches, self._wanted, self._batch_size)


class _Short:
    """A graph that was opened for the wanted rows."""

    def __init__(self, model: Model, batches: int, wanted: int, batch_size: int) -> None:
        self._model, self._batches, self._wanted, self._batch_size = model, batches, wanted, batch_size

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """See Model."""
        found = self._model.run({name: self._cut(value) for name, value in inputs.items()})
        return {name: self._filled(value) for name, value in found.items()}

    def _cut(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the first rows of each batch."""
        by_batch = values.reshape(self._batches, self._batch_size, *values.shape[1:])
        return by_batch[:, : self._wanted].reshape(-1, *values.shape[1:])

    def _filled(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return whole batches."""
        by_batch = values.reshape(self._batches, self._wanted, *values.shape[1:])
        rest = np.repeat(by_batch[:, -1:], self._batch_size - self._wanted, axis=1)
        return np.concatenate([by_batch, rest], axis=1).reshape(-1, *values.shape[1:])

    def close(self) -> None:
        """See Model."""
        self._model.close()
