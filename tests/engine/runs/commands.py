"""A run that takes a few seconds, as a command line."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from tests.engine.folders import bytes_in


def long_run(bundle: Path, out: Path, n: int = 30) -> list[str]:
    wanted = ["--bundle", bundle, "--class", "all", "--n", n, "--batch-size", 2, "--out", out]
    return ["engine", "generate", *map(str, wanted)]


def wait_for_work(process: subprocess.Popen[str], out: Path) -> None:
    """Until this process has opened its models and written the first line or picture of its own."""
    before, deadline = bytes_in(out), time.monotonic() + 60
    while bytes_in(out) <= before and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
