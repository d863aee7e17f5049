"""A backend that keeps what it opened."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

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


def test_graphs_that_nobody_uses_are_closed_on_request_except_those_that_come_next():
    inner = Counting()
    backend = KeptBackend(inner, most=None)
    for number in range(MOST + 2):
        opened(backend, f"graph {number}").close()
    used = opened(backend, "unet")
    assert inner.closed == []
    backend.free(keep=[Path("graph 3")])
    assert inner.closed == [f"graph {number}" for number in range(MOST + 2) if number != 3]
    opened(backend, "graph 3").close()
    used.close()
    backend.free()
    assert sorted(inner.closed[-2:]) == ["graph 3", "unet"]
    assert inner.opened.count("graph 3") == 1


def test_a_graph_is_opened_while_another_thread_closes_its_own():
    inner, opening, go_on = Counting(), threading.Event(), threading.Event()
    plain = inner.open

    def slow(path, inputs, outputs):
        if path.name == "slow":
            opening.set()
            assert go_on.wait(10)
        return plain(path, inputs, outputs)

    inner.open = slow
    backend = KeptBackend(inner, most=None)
    first = opened(backend, "first")
    thread = threading.Thread(target=opened, args=(backend, "slow"))
    thread.start()
    assert opening.wait(10)
    first.close()
    backend.free()
    assert inner.closed == ["first"]
    go_on.set()
    thread.join(10)
    assert inner.opened == ["first", "slow"]
    backend.close()
    assert inner.closed == ["first", "slow"]


def test_graphs_that_open_in_the_background_are_waited_for_by_their_first_run():
    inner, go_on = Counting(), threading.Event()
    plain = inner.open

    def slow(path, inputs, outputs):
        if path.name == "broken":
            raise OSError("no graph")
        assert go_on.wait(10)
        return plain(path, inputs, outputs)

    inner.open = slow
    with ThreadPoolExecutor(2) as pool:
        backend = KeptBackend(inner, most=None, opening=pool)
        unet, decoder, broken = (opened(backend, name) for name in ("unet", "decoder", "broken"))
        assert inner.opened == []
        go_on.set()
        assert (unet.run({}), decoder.run({})) == ({"eps": "unet"}, {"eps": "decoder"})
        with pytest.raises(OSError, match="no graph"):
            broken.run({})
        backend.close()
    assert sorted(inner.closed) == ["decoder", "unet"]
