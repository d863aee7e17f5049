"""Runs the command lines of the exporter and the engine, which this part does not import."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from engine.errors import CytosynthError

__all__ = ["Interrupted", "run_part"]

POLL_SECONDS = 0.5
SHOWN_LINES = 12


class Interrupted(Exception):  # noqa: N818 - not an error: the user stopped the run
    """The run was stopped by a signal. Everything finished is kept."""


def run_part(words: list[str], log: Path, stop: threading.Event, tick: Callable[[], None]) -> None:
    """Run `python -m <words>` and append what it prints to `log`.

    tick: called about twice per second. Raises Interrupted if `stop` is set, and CytosynthError, which quotes the last
    lines, if the command fails.
    """
    with log.open("a", encoding="utf-8") as file:
        began = file.tell()
        file.write(f"$ python -m {' '.join(words)}\n")
        file.flush()
        process = subprocess.Popen(  # noqa: S603 - the words are this project's own command lines
            [sys.executable, "-m", *words], stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
        try:
            while process.poll() is None:
                if stop.is_set():
                    raise Interrupted
                tick()
                time.sleep(POLL_SECONDS)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode:
        with log.open(encoding="utf-8") as file:
            file.seek(began)
            lines = file.read().splitlines()[-SHOWN_LINES:]
        raise CytosynthError(
            f"python -m {' '.join(words)}",
            found=f"exit code {process.returncode}: " + "\n            ".join(lines),
            expected="exit code 0",
            fix=f"see {log}; correct the cause and run the same command again to resume",
        )
