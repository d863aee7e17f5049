"""Work in a thread that the page follows."""

from __future__ import annotations

import threading

import pytest

from engine.serve.page.background import followed


def test_the_progress_is_followed_to_the_end():
    go = threading.Event()

    def work(report, stop):
        go.wait(10)
        report("cell.png", 1, 2)
        return 1

    lines = followed(work, threading.Event())
    assert next(lines) == "Waiting"
    go.set()
    assert {*lines} <= {"cell.png: 1 of 2"}


def test_an_error_of_the_work_is_raised():
    def work(report, stop):
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        [*followed(work, threading.Event())]


def test_work_that_nobody_follows_is_stopped():
    stopped = threading.Event()

    def work(report, stop):
        stop.wait(10)
        stopped.set()
        return 0

    lines = followed(work, threading.Event())
    next(lines)
    lines.close()
    assert stopped.wait(10)
