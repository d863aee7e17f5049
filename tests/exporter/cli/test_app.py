"""The command line as a whole: every command explains itself, and importing it loads no torch."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", ["onnx", "int8", "preset", "tensorrt", "verify", "inspect", "drift", "plans"])
def test_every_command_has_help(name, in_process):
    done = in_process("exporter", name, "--help")
    assert done.returncode == 0
    assert f"exporter {name}" in done.stdout


def test_the_command_line_does_not_import_torch_before_a_command_runs():
    code = "import sys, exporter.cli.app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torch", "onnx", "polygraphy", "tensorrt_rtx"}.isdisjoint(done.stdout.split())
