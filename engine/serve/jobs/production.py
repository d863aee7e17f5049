"""The production of a job's chunks in turns with the other requests of the server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing

from engine.backends.base import Backend
from engine.bundle.job import Job
from engine.output.chunks import Chunks
from engine.runs.production import ClassWorker, Finished
from engine.serve.work import Turns

__all__ = ["produce_in_turns"]


def produce_in_turns(turns: Turns) -> Callable[..., Generator[Finished, None, None]]:
    """Return a producer for engine.runs.generate that hands the turn on as soon as another thread waits for it.

    A turn makes one chunk at least. While nobody waits, it goes on, so that the stages of several chunks overlap.
    """

    def produce(
        job: Job, chunks: Chunks, first: int, backend: Backend, stop: threading.Event
    ) -> Generator[Finished, None, None]:
        done = first
        while done < chunks.stop and not stop.is_set():
            position = chunks.position(done)
            last = min(chunks.stop, chunks.end(position))
            with turns.turn():
                worker = ClassWorker(job, position, chunks, backend, stop)
            with closing(worker):
                while done < last and not stop.is_set():
                    with turns.turn(), closing(worker.produce(_while_unwanted(turns, done, last))) as produced:
                        for finished in produced:
                            yield finished
                            done = finished.chunk + 1

    return produce


def _while_unwanted(turns: Turns, first: int, last: int) -> Iterator[int]:
    yield first
    for chunk in range(first + 1, last):
        if turns.wanted:
            return
        yield chunk
