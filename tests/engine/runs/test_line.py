"""Stages that run ahead: order, bounds, errors and ends."""

from __future__ import annotations

import threading
import time

import pytest

from engine.runs.line import ahead


def test_items_come_in_order_and_no_more_than_the_depth_is_held():
    made = []

    def source():
        for i in range(20):
            made.append(i)
            yield i

    stage = ahead(source(), depth=2)
    assert next(stage) == 0
    time.sleep(0.3)
    # One was read, two wait, one is in the stage's hand.
    assert len(made) <= 4
    assert list(stage) == list(range(1, 20))


def test_an_error_comes_after_the_items_before_it():
    def source():
        yield 1
        raise ValueError("broken")

    stage = ahead(source())
    assert next(stage) == 1
    with pytest.raises(ValueError, match="broken"):
        next(stage)


def test_closing_ends_a_chain_of_stages_and_their_threads():
    closed = threading.Event()

    def source():
        try:
            while True:
                yield 0
        finally:
            closed.set()

    inner = ahead(source())
    outer = ahead(inner)
    assert next(outer) == 0
    outer.close()
    assert closed.wait(5)
    assert not [thread for thread in threading.enumerate() if thread.name == "cytosynth stage"]
