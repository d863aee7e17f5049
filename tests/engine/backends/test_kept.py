"""A backend that keeps what it opened."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from engine.backends.kept import MOST, KeptBackend


class Counting:
    name, version, on_gpu, takes_long_context, device, arithmetic = "x", "x 1", False, True, None, "float32"

    def __init__(self):
        self.opened, self.closed = [], []

    def open(self, path, inputs, outputs):
        self.opened.append(path.name)
        return SimpleNamespace(run=lambda inputs: {"eps": path.name}, close=lambda: self.closed.append(path.name))


def opened(backend, name, rows=1):
    return backend.open(Path(name), {"x": (rows, 2)}, ("eps",))


def test_a_graph_is_opened_once_per_shape_and_pushed_out_when_nobody_needs_it():
    inner = Counting()
    backend = KeptBackend(inner)
    first = opened(backend, "unet")
    assert first.run({}) == {"eps": "unet"}
    first.close()
    assert opened(backend, "unet") is first
    opened(backend, "unet", rows=2).close()
    assert (inner.opened, inner.closed) == (["unet", "unet"], [])
    for number in range(MOST):
        opened(backend, f"graph {number}").close()
    # The first one still has a user.
    assert inner.closed == ["unet", "graph 0"]
    assert opened(backend, "unet") is first
    backend.close()
    assert sorted(inner.closed) == sorted(inner.opened)
