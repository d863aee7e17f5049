"""A production line: stages are iterators, and each stage runs ahead of the next one in its own thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

from engine.pipeline.pipeline import Closable

__all__ = ["ahead", "opened"]

Item = TypeVar("Item")
Part = TypeVar("Part", bound=Closable)
PATIENCE_S = 0.1
"""Seconds after which a stage notices that its reader is gone."""


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def ahead(items: Iterable[Item], depth: int = 1) -> Generator[Item]:
    """Yield the items of an iterable that runs in another thread, at most `depth` finished items ahead.

    An exception of the iterable is raised here after the items before it. Closing this generator closes the iterable in
    its thread.
    """
    finished: queue.Queue[Item | _End] = queue.Queue(depth)
    gone = threading.Event()

    def put(value: Item | _End) -> bool:
        while not gone.is_set():
            try:
                finished.put(value, timeout=PATIENCE_S)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        error: BaseException | None = None
        source = iter(items)
        try:
            for item in source:
                if not put(item):
                    break
        except BaseException as caught:  # every exception is passed on to the reader
            error = caught
        finally:
            if isinstance(source, Generator):
                source.close()
            put(_End(error))

    thread = threading.Thread(target=work, name="cytosynth stage", daemon=True)
    thread.start()
    try:
        while not isinstance(value := finished.get(), _End):
            yield value
        if value.error is not None:
            raise value.error
    finally:
        gone.set()
        thread.join()


def opened(openings: Sequence[Callable[[], Part]], *, early: bool) -> Generator[Part]:
    """Yield what each function opens, and close it before the next one is yielded.

    early: Open the next part in another thread while the part before it is in use, so that two parts are open at once.
        Otherwise it is opened when the part before it is closed.
    """
    with ThreadPoolExecutor(1, "cytosynth opening") as pool:
        coming: Future[Part] | None = None
        try:
            for place, opening in enumerate(openings):
                with closing(opening() if coming is None else coming.result()) as part:
                    coming = pool.submit(openings[place + 1]) if early and place + 1 < len(openings) else None
                    yield part
        finally:
            # The reader stopped before the next part was its turn, or that part could not be opened.
            if coming is not None and coming.exception() is None:
                coming.result().close()
