"""A command that the server forks prints and exits like any other, and ends when its time is over."""

from __future__ import annotations

import subprocess
import time

import pytest

from tests.conftest import run_command
from tests.prefork import SUPPORTED

pytestmark = pytest.mark.skipif(not SUPPORTED, reason="needs os.fork and os.pidfd_open: Linux")


@pytest.mark.parametrize(
    ("words", "code"), [(["engine", "png-info", "/nowhere.png"], 2), (["engine", "info", "--json"], 0)]
)
def test_it_prints_and_exits_as_without_the_server(words, code):
    alone, forked = (run_command(*words, prepared=prepared) for prepared in (False, True))
    assert alone.returncode == forked.returncode == code
    assert (alone.stdout, alone.stderr) == (forked.stdout, forked.stderr)


@pytest.mark.slow
def test_one_that_takes_too_long_is_killed(tiny_bundle, tmp_path):
    request = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--n", 100_000]
    with pytest.raises(subprocess.TimeoutExpired):
        run_command("engine", "generate", *request, "--out", tmp_path / "out", timeout=5)
    time.sleep(1)
    before = sorted(tmp_path.rglob("*"))
    time.sleep(1)
    assert sorted(tmp_path.rglob("*")) == before
