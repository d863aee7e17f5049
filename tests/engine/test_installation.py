"""A command line without its packages says how to install them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.test_house import PARTS


@pytest.mark.parametrize("part", [*sorted({*PARTS} - {"recipes"}), "recipes.sheet"])
def test_every_part_says_what_to_do_outside_the_virtual_environment(part):
    """-S and -I leave only the standard library, as the Python of a system has."""
    script = f"import runpy, sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv = ['-m']; runpy.run_module({part!r})"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "make install" in done.stderr
    assert ".venv/bin/activate" in done.stderr


def test_a_program_that_imports_the_library_gets_the_exception_of_python():
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from engine import Engine"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert "ModuleNotFoundError" in done.stderr
