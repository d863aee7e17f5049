"""The one thread that draws: requests in the order in which they came, those of equal settings in one batch."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from engine.bundle.job import Job
from engine.pipeline.loops import Latents, Stopped, Watch
from engine.pipeline.pipeline import Pipeline
from engine.pipeline.rescue import Rescue, troubles_of
from engine.serve.drawing import Drawn, drawn
from engine.serve.models import Models
from engine.serve.settings import LimitSettings
from engine.serve.tickets import QueueFull, Steps, Ticket, evaluations

__all__ = ["Preview", "Turns", "Work"]

FULL = 0.75
"""A larger graph is taken if waiting pictures fill this part of its batch: the rest would be drawn for nothing."""
GROWTH = 4
"""Each larger graph takes this many times as many pictures."""


Drew = Callable[[str, str, int, float], None]
"""Called with a bundle, a class of it, the number of pictures that were drawn together, and their seconds."""


class Turns:
    """Lets one thread compute at a time, in the order in which they asked, so that none waits for ever."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._order: deque[object] = deque()
        self._when_drawn: list[Drew] = []

    @property
    def wanted(self) -> bool:
        """Whether another thread waits for its turn."""
        with self._changed:
            return len(self._order) > 1

    def call_when_drawn(self, function: Drew) -> None:
        """Call a function whenever pictures were drawn, whoever drew them."""
        self._when_drawn.append(function)

    def drew(self, bundle: str, class_name: str, pictures: int, seconds: float) -> None:
        """Say that pictures were drawn."""
        for function in self._when_drawn:
            function(bundle, class_name, pictures, seconds)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the turn of this thread, and hold it for the block."""
        own = object()
        with self._changed:
            self._order.append(own)
            self._changed.wait_for(lambda: self._order[0] is own)
        try:
            yield
        finally:
            with self._changed:
                self._order.popleft()
                self._changed.notify_all()


@dataclass(frozen=True)
class _Batch:
    """Pictures that are drawn together."""

    job: Job
    """Job of the first ticket, with the batch size of the graph."""
    parts: list[tuple[Ticket, list[int]]]
    """The tickets, and the seeds of each."""
    stop: Steps

    @property
    def places(self) -> list[tuple[Ticket, int]]:
        """The ticket and the seed of each picture, in the order of the batch."""
        return [(ticket, seed) for ticket, own in self.parts for seed in own]


@dataclass(frozen=True)
class Preview:
    """The first picture of a batch before it is finished."""

    ticket: Ticket
    number: int
    """Counts the previews of the server."""
    picture: Drawn


class Work:
    """The queue of tickets and the thread that draws them."""

    def __init__(self, models: Models, limits: LimitSettings, turns: Turns) -> None:
        self._models, self._limits, self._turns = models, limits, turns
        self._changed = threading.Condition()
        self._tickets: list[Ticket] = []
        self._batch: _Batch | None = None
        self._preview: Preview | None = None
        self._previews = 0
        self.preview_every = 0
        """Number of steps between two previews. 0 decodes none."""
        self._closed = False
        self._seconds_per_picture = 1.0
        self._thread = threading.Thread(target=self._work, name="cytosynth drawing", daemon=True)
        self._thread.start()

    def put(self, ticket: Ticket) -> None:
        """Add a ticket to the queue. Raises QueueFull."""
        with self._changed:
            waiting = [one for one in self._tickets if one.began is None]
            if len(waiting) >= self._limits.queue or self._closed:
                pictures = sum(len(one.remaining) for one in self._tickets)
                seconds = math.ceil(pictures * self._seconds_per_picture)
                raise QueueFull(len(waiting), max(1, min(600, seconds)))
            ticket.work, ticket.lock = self, self._changed
            self._tickets.append(ticket)
            self._changed.notify_all()

    def position(self, ticket: Ticket) -> int:
        """Return the number of tickets before this one."""
        with self._changed:
            return self._tickets.index(ticket) if ticket in self._tickets else 0

    def tickets(self) -> list[Ticket]:
        """Return the tickets that run or wait, in order."""
        with self._changed:
            return list(self._tickets)

    def running(self) -> Ticket | None:
        """Return the ticket whose pictures are being drawn, the oldest if there are several."""
        with self._changed:
            return self._batch.parts[0][0] if self._batch else None

    def preview(self) -> Preview | None:
        """Return the latest look at the running batch, or None if there is none yet."""
        with self._changed:
            return self._preview if self._batch is not None else None

    def interrupt(self) -> None:
        """End the running tickets with the pictures as they are now. Tickets that wait still run."""
        with self._changed:
            if self._batch is not None:
                for ticket, _ in self._batch.parts:
                    ticket.interrupted = True
                    ticket.remaining.clear()
                self._batch.stop.set()

    def skip(self) -> None:
        """End the pictures that are being drawn as they are now, and go on with the next ones."""
        with self._changed:
            if self._batch is not None:
                for ticket, _ in self._batch.parts:
                    ticket.skipped = True
                self._batch.stop.set()

    def cancel(self, ticket: Ticket) -> None:
        """Drop a ticket. Others that are drawn in the same batch go on."""
        with self._changed:
            if ticket not in self._tickets:
                return
            ticket.cancelled = True
            ticket.remaining.clear()
            parts = [] if self._batch is None else self._batch.parts
            if all(one is not ticket for one, _ in parts):
                self._tickets.remove(ticket)
                ticket.finish()
            elif self._batch is not None and all(one.cancelled for one, _ in parts):
                self._batch.stop.set()

    def close(self) -> None:
        """Draw nothing more. Tickets that run end with what is finished, tickets that wait are cancelled."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self.interrupt()
        self._thread.join()
        for ticket in self.tickets():
            self.cancel(ticket)

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            with self._turns.turn():
                began = time.monotonic()
                results, error = self._draw(batch)
                seconds = time.monotonic() - began
                self._seconds_per_picture += 0.3 * (seconds / len(batch.places) - self._seconds_per_picture)
            request, made = batch.parts[0][0].request, sum(isinstance(one, Drawn) for one in results)
            self._turns.drew(request.bundle, request.class_name, made, seconds)
            self._end(batch, results, error)

    def _next(self) -> _Batch | None:
        """Return the next batch: of the oldest ticket, and of others of equal settings. None ends the thread."""
        with self._changed:
            self._changed.wait_for(lambda: self._tickets or self._closed)
            if self._closed:
                return None
            first = self._tickets[0]
            joined = [one for one in self._tickets if one is first or (one.key is not None and one.key == first.key)]
            size = self._size(first, sum(len(one.remaining) for one in joined) if len(joined) > 1 else 0)
            parts: list[tuple[Ticket, list[int]]] = []
            room = size
            for ticket in joined:
                own = [ticket.remaining.popleft() for _ in range(min(room, len(ticket.remaining)))]
                room -= len(own)
                if own:
                    parts.append((ticket, own))
            job = first.job if size == first.job.request.batch_size else first.job.changed(batch_size=size)
            self._batch, self._preview = _Batch(job, parts, Steps(evaluations(job))), None
            for ticket, _ in parts:
                ticket.batch = self._batch.stop
                ticket.began = ticket.began or time.monotonic()
            return self._batch

    def _size(self, first: Ticket, waiting: int) -> int:
        """Return the batch size of the graph: that of the ticket, or a larger one that waiting pictures fill well."""
        size = larger = first.job.request.batch_size
        while (larger := larger * GROWTH) <= max(self._limits.batch, size):
            if waiting >= FULL * larger:
                size = larger
        return size

    def _draw(self, batch: _Batch) -> tuple[list[Drawn | str], Exception | None]:
        """Return the pictures of a batch, or why one is missing, or the exception that ended it."""
        job, seeds = batch.job, [seed for _, seed in batch.places]
        # Every row of a graph is computed, as those of the last chunk of a run.
        full = [*seeds, *range(seeds[-1] + 1, seeds[-1] + 1 + job.request.batch_size - len(seeds))]
        try:
            with (
                self._models.pipeline(job) as pipeline,
                closing(Rescue(job, job.request.class_names[0])) as rescue,
            ):
                try:
                    latents = pipeline.generate_latents(full, batch.stop, self._watch(batch, pipeline))
                except Stopped as stopped:
                    wanted = not all(ticket.cancelled for ticket, _ in batch.parts)
                    return self._half_drawn(batch, pipeline, stopped.prediction) if wanted else [], None
                images, finite = pipeline.decode(latents, full)
                checked = rescue.check(full, images[: len(seeds)], finite[: len(seeds)], batch.stop)
                finished = pipeline.finish(checked.images, seeds)
            pictures = drawn(job, seeds, finished, checked.rescued)
        except Exception as error:  # every exception is passed on to those who wait
            return [], error
        return [trouble or picture for picture, trouble in zip(pictures, checked.troubles, strict=True)], None

    def _half_drawn(self, batch: _Batch, pipeline: Pipeline, latents: Latents | None) -> list[Drawn | str]:
        """Return the pictures of a batch that was stopped, from what its last step predicted, (B, C, h, w)."""
        if latents is None:
            return []
        seeds = [seed for _, seed in batch.places]
        pictures, troubles = _as_they_are(batch, pipeline, latents, seeds, batch.stop.done)
        return [trouble or picture for picture, trouble in zip(pictures, troubles, strict=True)]

    def _watch(self, batch: _Batch, pipeline: Pipeline) -> Watch | None:
        """Return what decodes previews of a batch, or None if none are wanted."""
        every = self.preview_every
        if not every:
            return None

        def watch(step: int, prediction: Callable[[], Latents]) -> None:
            if step % every == 0:
                ticket, seed = batch.places[0]
                (picture,), _ = _as_they_are(batch, pipeline, prediction(), [seed], step)
                with self._changed:
                    self._previews += 1
                    self._preview = Preview(ticket, self._previews, picture)

        return watch

    def _end(self, batch: _Batch, results: list[Drawn | str], error: Exception | None) -> None:
        """Give the pictures to their tickets, and the results of tickets that are complete to those who wait."""
        failed = None if isinstance(error, Stopped) else error
        with self._changed:
            self._batch = None
            for (ticket, seed), result in zip(batch.places, results, strict=False):
                if isinstance(result, str):
                    ticket.failures[seed] = result
                else:
                    ticket.pictures.append(result)
            for ticket, _ in batch.parts:
                ticket.batch = None
                if failed is not None or not ticket.remaining:
                    self._tickets.remove(ticket)
                    ticket.finish(failed)


def _as_they_are(
    batch: _Batch, pipeline: Pipeline, latents: Latents, seeds: Sequence[int], steps: int
) -> tuple[list[Drawn], list[str]]:
    """Return the first pictures of a batch, one for each seed, as they are after some steps, and their problems."""
    images, finite = pipeline.decode(latents[: len(seeds)], seeds)
    finished = pipeline.finish(images, seeds)
    pictures = drawn(batch.job, seeds, finished, [""] * len(seeds), interrupted_after=steps)
    return pictures, troubles_of(images, finite)
