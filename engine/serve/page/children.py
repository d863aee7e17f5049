"""Other parts of the project, run as child processes that write into a log."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

__all__ = ["Child", "last_lines"]

LINES = 12
PATIENCE_S = 10.0
"""Time that a child gets to end by itself before it is killed."""


def last_lines(log: Path) -> str:
    """Return the end of a log, or nothing if there is none."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    return "\n".join(text.splitlines()[-LINES:])


class Child:
    """A command of another part, such as `python -m trainer adapt`."""

    def __init__(self, words: Sequence[str | Path], log: Path, *, append: bool = False) -> None:
        """Start the command. It runs in the log's folder, and writes its output into the log, or at its end."""
        self._log = log
        with log.open("ab" if append else "wb") as file:
            self._process = subprocess.Popen(  # noqa: S603 - the words are options and paths of our own
                [sys.executable, "-m", *map(str, words)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=log.parent,
                # Lines for people are wrapped at the width of the terminal.
                env={**os.environ, "COLUMNS": "120", "PYTHONUNBUFFERED": "1"},
            )

    @property
    def running(self) -> bool:
        """Whether the command still runs."""
        return self._process.poll() is None

    @property
    def succeeded(self) -> bool:
        """Whether the command has ended well."""
        return self._process.poll() == 0

    def output(self) -> str:
        """Return everything that the command has printed."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def last_lines(self) -> str:
        """Return the end of what the command has printed."""
        return last_lines(self._log)

    def wait(self, timeout: float) -> None:
        """Wait for the end of the command, but not longer than so many seconds."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)

    def stop(self) -> None:
        """End the command. It may finish what it is writing."""
        if self.running:
            self._process.terminate()
            self.wait(PATIENCE_S)
        if self.running:
            self._process.kill()
            self._process.wait()
