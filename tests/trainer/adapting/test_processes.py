"""Command lines of other parts: followed, stopped and quoted."""

from __future__ import annotations

import threading

import pytest

from engine.errors import CytosynthError
from trainer.adapting.processes import Interrupted, run_part


def test_what_a_command_prints_goes_to_the_log(tmp_path):
    ticks = []
    run_part(["engine", "--help"], tmp_path / "log.txt", threading.Event(), lambda: ticks.append(1))
    text = (tmp_path / "log.txt").read_text()
    assert text.startswith("$ python -m engine --help\n")
    assert "generate" in text
    assert ticks


def test_a_failure_quotes_the_last_lines_and_names_the_log(tmp_path):
    with pytest.raises(CytosynthError) as failed:
        run_part(["engine", "info", "nowhere"], tmp_path / "log.txt", threading.Event(), lambda: None)
    assert "The bundle nowhere" in str(failed.value)
    assert str(tmp_path / "log.txt") in failed.value.fix


def test_a_stopped_run_ends_its_process(tmp_path):
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        run_part(["http.server", "0"], tmp_path / "log.txt", stop, lambda: None)
