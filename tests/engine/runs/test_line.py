"""Stages that run ahead: order, bounds, errors and ends."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest

from engine.runs.line import ahead, opened


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


class Part:
    def __init__(self, name, log):
        self.name, self.log = name, log
        log.append(f"{name} opens")

    def close(self):
        self.log.append(f"{self.name} closes")


def parts_of(log):
    return [partial(Part, name, log) for name in "abc"]


def test_parts_open_one_after_the_other_or_one_early():
    log = []
    for part in opened(parts_of(log), early=False):
        log.append(f"{part.name} works")
    assert log == [f"{name} {does}" for name in "abc" for does in ("opens", "works", "closes")]
    log = []
    parts = opened(parts_of(log), early=True)
    assert next(parts).name == "a"
    waited_for(lambda: "b opens" in log)
    time.sleep(0.05)
    assert log == ["a opens", "b opens"]
    assert [part.name for part in parts] == ["b", "c"]
    assert log.index("a closes") < log.index("c opens")
    assert sorted(log) == sorted(f"{name} {does}" for name in "abc" for does in ("opens", "closes"))


def test_a_part_that_was_opened_early_is_closed_if_the_reader_stops():
    log = []
    parts = opened(parts_of(log), early=True)
    next(parts)
    parts.close()
    assert sorted(log) == ["a closes", "a opens", "b closes", "b opens"]


def test_the_error_of_a_part_comes_when_it_is_its_turn():
    log = []

    def broken():
        raise ValueError("broken")

    parts = opened([partial(Part, "a", log), broken], early=True)
    assert next(parts).name == "a"
    with pytest.raises(ValueError, match="broken"):
        next(parts)
    assert log == ["a opens", "a closes"]


def waited_for(holds):
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)
