"""A backend that keeps the graphs it opened, for jobs that follow each other and mostly need the same ones."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from engine.backends.base import Arithmetic, Arrays, Backend, Model, Signature

__all__ = ["KeptBackend"]

MOST = 4
"""Number of open graphs of a grid. The one that was used longest ago is closed first."""


class KeptBackend:
    """Opens each graph once per shape. What its users close stays open until `close`, or until other graphs need room.

    Graphs that pass their results on a device are opened afresh by each job, because they share its memory. Threads may
    open and close graphs at the same time.
    """

    def __init__(self, inner: Backend, most: int | None = MOST, opening: Executor | None = None) -> None:
        """Keep the graphs of a backend.

        Args:
            inner: The backend that opens the graphs.
            most: Number of graphs above which those without users are closed. With None only `free` closes graphs.
            opening: Opens the graphs, while `open` returns at once. The first run of a graph waits for it, and raises
                what opening it raised.
        """
        self._inner, self._most, self._opening = inner, most, opening
        self.name, self.version, self.on_gpu = inner.name, inner.version, inner.on_gpu
        self.takes_long_context, self.device = inner.takes_long_context, inner.device
        self.arithmetic: Arithmetic = inner.arithmetic
        self._models: OrderedDict[tuple[Path, object, object], _Kept] = OrderedDict()
        self._counting = threading.RLock()

    def open(self, path: Path, inputs: Signature, outputs: tuple[str, ...]) -> Model:
        """See Backend."""
        key = (path, tuple(sorted(inputs.items())), outputs)
        with self._counting:
            if key in self._models:
                return self._used(key)
        # Other threads may close their graphs meanwhile: opening takes seconds.
        model = _Kept(self._begin(path, inputs, outputs), self._counting)
        with self._counting:
            if self._models.setdefault(key, model) is not model:
                model.free()
            return self._used(key)

    def _begin(self, path: Path, inputs: Signature, outputs: tuple[str, ...]) -> Future[Model]:
        """Return the graph, which may still be being opened."""
        if self._opening is not None:
            return self._opening.submit(self._inner.open, path, inputs, outputs)
        opened: Future[Model] = Future()
        opened.set_result(self._inner.open(path, inputs, outputs))
        return opened

    def _used(self, key: tuple[Path, object, object]) -> _Kept:
        """Return a graph of the store with one user more, and make room."""
        self._models.move_to_end(key)
        self._models[key].users += 1
        for old, model in list(self._models.items()):
            if self._most is not None and len(self._models) > self._most and not model.users:
                self._models.pop(old).free()
        return self._models[key]

    def free(self, keep: Collection[Path] = ()) -> None:
        """Close the graphs that nobody uses, except those of the files `keep`."""
        with self._counting:
            for key, model in list(self._models.items()):
                if not model.users and key[0] not in keep:
                    self._models.pop(key).free()

    def close(self) -> None:
        """Close all graphs."""
        while self._models:
            self._models.popitem()[1].free()


class _Kept:
    """A model whose users come and go."""

    def __init__(self, model: Future[Model], counting: threading.RLock) -> None:
        self._model, self.users, self._counting = model, 0, counting
        # Two users may be stages of one production line.
        self._one_at_a_time = threading.Lock()

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """See Model."""
        with self._one_at_a_time:
            return self._model.result().run(inputs)

    def close(self) -> None:
        """Note that one user less needs the model."""
        with self._counting:
            self.users -= 1

    def free(self) -> None:
        """Close the model itself, if it was opened."""
        if not self._model.cancel() and self._model.exception() is None:
            self._model.result().close()
