"""Facts about the processor, from the system's own files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine import machine

CPUINFO = """processor : 0
cpu family : 6
model : 85
model name : A Processor @ 2.0 GHz
flags : a b
"""


def test_the_processor_is_named_as_linux_names_it(monkeypatch):
    monkeypatch.setattr(Path, "read_text", lambda path: CPUINFO)
    assert machine.processor_model() == "A Processor @ 2.0 GHz"
    assert machine.processor_name() == "A Processor @ 2.0 GHz, family 6, model 85"
    assert machine.machine_facts() == {"processor": machine.processor_name(), "cores": machine.installed_cores()}


def test_a_system_without_that_file_is_asked_by_python(monkeypatch):
    def absent(path):
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", absent)
    monkeypatch.setattr("platform.processor", lambda: "arm")
    assert machine.processor_name() == machine.processor_model() == "arm"


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs Linux, which can bind a process to cores")
def test_the_cores_of_this_process_count(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5})
    assert machine.available_cores() == 2
    assert machine.installed_cores() >= 1
