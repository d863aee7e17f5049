"""Command lines in a terminal: progress bars, exit codes, signals, and text that is safe to print."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from engine.errors import CytosynthError, RequestError, first_line
from engine.failures import FREE_SPACE, as_cytosynth_error
from engine.progress import Progress

__all__ = ["printable", "progress_bar", "run_command_line", "silence_libraries", "stopped_by_signals", "warn"]

TEXTS = ("--prompt", "--negative-prompt", "--note", "--title", "--subject", "--licence", "--attribution")
"""Options whose value is a text that may be empty."""
LINES = 20
"""Number of lines per task if progress is printed as lines."""


def run_command_line(app: Callable[[], None]) -> None:
    """Run a command line. Print an error without a traceback, and exit with the code of the error.

    A wrong request exits 2; a failure while running, or of the file system, exits 1. Letters that the output's encoding
    lacks are printed as escapes.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    code: int | str | None = 0
    ended = False
    try:
        _check_arguments(sys.argv[1:])
        app()
    except SystemExit as end:
        code, ended = end.code, True
    except Exception as error:
        found = as_cytosynth_error(error)
        if found is None:
            raise
        code = found.exit_code
        # A reader such as `head` that closed the pipe has what it wanted.
        if not isinstance(error, BrokenPipeError):
            _print_error(found)
    code = _flushed(code)
    if code or ended:
        sys.exit(code)


def _check_arguments(words: Iterable[str]) -> None:
    """Raise RequestError for an argument with bytes that are no UTF-8, which no record of a run can hold, and for an
    empty one, which as a path would name the working directory."""
    before = ""
    for word in words:
        if not word and before not in TEXTS:
            words_of = f"The value of {before}" if before.startswith("--") else "An argument"
            raise RequestError(
                words_of, found="an empty text", expected="a value", fix="write the value, or leave it out"
            )
        before = word
        if "\0" in word or any("\ud800" <= letter <= "\udfff" for letter in word):
            raise RequestError(
                f"The argument {word!a}",
                found="bytes that are no UTF-8",
                expected="text in UTF-8",
                fix="write the argument in UTF-8; rename a file or folder whose name is no UTF-8",
            )


def _print_error(error: CytosynthError) -> None:
    with suppress(OSError, ValueError):
        print(f"error: {error}", file=sys.stderr, flush=True)


def _flushed(code: int | str | None) -> int | str | None:
    """Write out what was printed. Return the exit code, which is 1 if a success could not be printed."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno != errno.EPIPE:
            _print_error(CytosynthError("The output", found=first_line(error), expected="room for it", fix=FREE_SPACE))
        _drop(sys.stdout)
        return code or 1
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except (OSError, ValueError):
        _drop(sys.stderr)
    return code


def _drop(stream: Any) -> None:
    """Let what a stream still holds go nowhere. The interpreter would complain about it at its end."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def silence_libraries(*ignored: type[Warning], **variables: str) -> None:
    """Silence messages of transformers and the Hugging Face hub that users of a command line do not need.

    Call this before these libraries are imported.

    Args:
        ignored: Kinds of warnings that are not shown.
        variables: Further environment variables to set. A variable that the user has set keeps its value.
    """
    for name, value in {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1", **variables}.items():
        os.environ.setdefault(name, value)
    for kind in ignored:
        warnings.simplefilter("ignore", kind)


@contextmanager
def progress_bar(*, bar_per_task: bool = True, line_every_s: float = 10.0) -> Iterator[Progress]:
    """Yield a Progress that draws bars on stderr if stderr is a terminal, and prints lines if not.

    Args:
        bar_per_task: Draw a bar for each task. Otherwise one bar shows the task that is running.
        line_every_s: If stderr is no terminal, print a line after each twentieth of a task, but at least so many
            seconds after the line before, or after the start. A short task prints nothing.
    """
    # Help and errors need no bars, and start sooner without them.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}
        printed, twentieths = time.monotonic(), dict[str, int]()

        def update(task: str, done: int, total: int, loss: float | None = None, rate: float | None = None, /) -> None:
            nonlocal printed
            words = task + (f", loss {loss:.4f}" if loss is not None else "")
            words += f", rate {rate:.2g}" if rate is not None else ""
            if not console.is_terminal:
                now, twentieth = time.monotonic(), done * LINES // total
                if twentieth != twentieths.get(task, 0) and now - printed >= line_every_s:
                    print(f"{words}, {done}/{total}", file=sys.stderr, flush=True)
                    printed, twentieths[task] = now, twentieth
                return
            key = task if bar_per_task else ""
            if key not in tasks:
                tasks[key] = bars.add_task(words)
            bars.update(tasks[key], completed=done, total=total, description=words)

        yield update


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """Yield an event that the first SIGINT or SIGTERM sets. A second signal acts as if there were no such event."""
    stop = threading.Event()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, handlers[signal.Signals(number)])

    for number in handlers:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def warn(words: str) -> None:
    """Print a warning to stderr."""
    print(f"warning: {words}", file=sys.stderr)


def printable(text: str) -> str:
    """Return the text without control characters, which could command a terminal. Line ends stay."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)
