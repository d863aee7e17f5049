"""Work that takes long, in a thread, whose progress the page shows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait

from engine.progress import Progress

__all__ = ["followed"]

REFRESH_S = 0.3


def followed(work: Callable[[Progress, threading.Event], int], stop: threading.Event) -> Iterator[str]:
    """Do the work in a thread, and yield a line at each change of its progress. Raises what the work raises.

    The work stops if the event is set, and also if nobody follows it any longer.
    """
    words = ["Waiting"]

    def report(task: str, done: int, total: int, loss: float | None = None, rate: float | None = None, /) -> None:
        words.append(f"{task}: {done} of {total}")

    finished: Future[int] = Future()

    def run() -> None:
        try:
            finished.set_result(work(report, stop))
        except BaseException as error:  # the page shows it
            finished.set_exception(error)

    thread = threading.Thread(target=run, name="cytosynth page", daemon=True)
    thread.start()
    shown = ""
    try:
        while not finished.done():
            if words[-1] != shown:
                shown = words[-1]
                yield shown
            wait([finished], timeout=REFRESH_S)
    except GeneratorExit:
        stop.set()
        raise
    finished.result()
