"""What a command line needs of its terminal: a progress bar, signals, and text that is safe to print."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["ProgressBar", "printable", "stopped_by_signals"]


class ProgressBar:
    """A bar on stderr, and only on a terminal."""

    def __enter__(self) -> Callable[[int, int, str], None]:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = Console(stderr=True)
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._bar.start()
        task = self._bar.add_task("")

        def update(done: int, total: int, class_name: str) -> None:
            self._bar.update(task, completed=done, total=total, description=class_name)

        return update

    def __exit__(self, *error: object) -> None:
        self._bar.stop()


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; the second one acts as it would have."""
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


def printable(text: str) -> str:
    """The text without control characters, which could command a terminal; line ends stay."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)
