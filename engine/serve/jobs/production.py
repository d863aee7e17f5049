"""The production of a job's chunks in turns with the other requests of the server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager

from engine.backends.base import Backend
from engine.bundle.job import Job
from engine.output.chunks import Chunks
from engine.runs.production import ClassWorker, Finished
from engine.serve.work import Turns

__all__ = ["produce_in_turns"]


def produce_in_turns(
    turns: Turns, enough: threading.Event | None = None
) -> Callable[..., Generator[Finished, None, None]]:
    """Return a producer for engine.runs.generate that hands the turn on as soon as another thread waits for it.

    A turn makes one chunk at least. While nobody waits, it goes on, so that the stages of several chunks overlap.

    enough: when it is set, the chunks that are being made are finished, and no other is begun.
    """
    ended = enough or threading.Event()

    def produce(
        job: Job, chunks: Chunks, first: int, backend: Backend, stop: threading.Event
    ) -> Generator[Finished, None, None]:
        done = first

        def goes_on(end: int) -> bool:
            return done < end and not stop.is_set() and not ended.is_set()

        while goes_on(chunks.stop):
            position = chunks.position(done)
            last = min(chunks.stop, chunks.end(position))
            with _opened(turns, lambda: ClassWorker(job, position, chunks, backend, stop)) as worker:  # noqa: B023
                while goes_on(last):
                    wanted = _while_unwanted(turns, ended, done, last)
                    with turns.turn(), closing(worker.produce(wanted)) as produced:
                        for finished in produced:
                            yield finished
                            done = finished.chunk + 1

    return produce


@contextmanager
def _opened(turns: Turns, make: Callable[[], ClassWorker]) -> Iterator[ClassWorker]:
    """Open a worker and close it in turns, because it shares its graphs with the other requests."""
    with turns.turn():
        worker = make()
    try:
        yield worker
    finally:
        with turns.turn():
            worker.close()


def _while_unwanted(turns: Turns, ended: threading.Event, first: int, last: int) -> Iterator[int]:
    """Yield chunks until another thread waits, the first one in any case unless none must be begun any more."""
    for chunk in range(first, last):
        if ended.is_set() or (chunk > first and turns.wanted):
            return
        yield chunk
