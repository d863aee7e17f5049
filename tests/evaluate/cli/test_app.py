"""The command line of `evaluate`: every command has help."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    "name", ["score", "copies", "morphology", "masks", "utility", "judge", "curve", "report", "weights"]
)
def test_every_command_has_help(name, in_process):
    done = in_process("evaluate", name, "--help")
    assert done.returncode == 0
    assert "Usage:" in done.stdout
