"""Open a graph once: a store of the compiled graphs that the tests of one process share.

Most tests draw with the same tiny bundle, and opening its graphs takes longer than drawing. The store keeps what the
runtimes compiled; each test still gets models with requests and memory of their own. A backend that must not take
graphs from the user's cache takes none from the store either. The tests of the backends do not use the store, see
tests/engine/backends/conftest.py.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import pytest

from engine.backends.openvino import OpenVINOBackend, OpenVINOModel

__all__ = ["Store", "keep_graphs"]

MOST = 24
"""Number of compiled graphs that are kept. The one that was used longest ago is dropped first."""


class Store:
    """Compiled graphs by what decides them. A process that was forked compiles its own: threads survive no fork."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, path: Path, about: Hashable, compile_graph: Callable[[], Any]) -> Any:
        """Return what was compiled from the graph with the same settings, or compile it.

        The key holds every file of the graph's folder, because weights are files of their own, and the user's cache of
        compiled graphs, because some tests look into a cache of their own.
        """
        cache = Path(os.environ.get("XDG_CACHE_HOME", ""), "cytosynth/openvino").resolve()
        files = [(file.name, file.stat()) for file in sorted(path.parent.iterdir())] if path.is_file() else []
        facts = tuple((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in files)
        key = (os.getpid(), cache, path, facts, about)
        if key not in self._kept:
            self._kept[key] = compile_graph()
        self._kept.move_to_end(key)
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)
        return self._kept[key]


def keep_graphs(patch: pytest.MonkeyPatch, store: Store) -> None:
    """Let the backends of this process take compiled graphs from the store."""
    open_graph = OpenVINOBackend._open

    def opened(
        self: OpenVINOBackend, path: Path, inputs: Any, outputs: Any, *change: Any, **options: Any
    ) -> OpenVINOModel:
        if any(change) or not self._keeps:
            return open_graph(self, path, inputs, outputs, *change, **options)
        new: list[OpenVINOModel] = []

        def compile_graph() -> tuple[Any, int]:
            new.append(open_graph(self, path, inputs, outputs, **options))
            requests = new[0]._requests
            return requests[0].get_compiled_model(), len(requests)

        shapes = sorted((name, tuple(shape)) for name, shape in inputs.items())
        about = (*sorted(self._config.items()), self._threads, *shapes, outputs, *sorted(options.items()))
        compiled, parts = store.get(path, about, compile_graph)
        return new[0] if new else OpenVINOModel(compiled, outputs, parts)

    patch.setattr(OpenVINOBackend, "_open", opened)
    try:
        from engine.backends.onnxruntime import ORTBackend
    except ImportError:
        return
    open_session = ORTBackend._session

    def session(self: ORTBackend, path: Path, inputs: Any, outputs: set[str]) -> Any:
        about = (self.version, self._options.intra_op_num_threads, *sorted(inputs), *sorted(outputs))
        return store.get(path, about, lambda: open_session(self, path, inputs, outputs))

    patch.setattr(ORTBackend, "_session", session)
