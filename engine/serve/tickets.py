"""Tickets: the requests that wait or run, how far they are, and what becomes of them."""

from __future__ import annotations

import shutil
import threading
import time
import uuid
from collections import deque
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.bundle.job import Job
from engine.errors import CytosynthError
from engine.serve.drawing import Drawing, Drawn
from engine.serve.models import equal_settings

if TYPE_CHECKING:
    from engine.serve.work import Work

__all__ = ["Cancelled", "Progress", "QueueFull", "Steps", "Ticket", "evaluations"]


class QueueFull(Exception):  # noqa: N818 - named as the client meets it
    """As many requests wait as are allowed."""

    def __init__(self, waiting: int, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"{waiting} requests wait already. Try again in {retry_after_s} seconds.")


class Cancelled(Exception):  # noqa: N818 - a request, not an error
    """The ticket was cancelled before its end."""


class Steps(threading.Event):
    """The request to stop a batch. It also counts the steps, because a loop asks before each one."""

    def __init__(self, total: int) -> None:
        super().__init__()
        self.total, self._asked = total, 0

    @property
    def done(self) -> int:
        """The number of evaluations of the UNet that are done."""
        return min(self.total, max(0, self._asked - 1))

    def is_set(self) -> bool:
        """Return whether to stop."""
        self._asked += 1
        return super().is_set()


def evaluations(job: Job) -> int:
    """Return the number of steps of a picture, those of a second pass included."""
    last = job.second_pass
    return len(job.plan.rows) + (0 if last is None else len(last.plan.rows))


@dataclass(frozen=True)
class Progress:
    """How far a request is."""

    ticket: Ticket
    pictures: int
    """Number of pictures that are finished."""
    step: int
    """Number of steps of the current batch that are done."""
    steps: int
    fraction: float
    """How much of the whole request is done, from 0 to 1."""
    seconds: float
    """Time since the request began to run."""

    @property
    def remaining_s(self) -> float:
        """The time that the request will still take, if it goes on as before."""
        return self.seconds / self.fraction - self.seconds if self.fraction else 0.0


class Ticket:
    """A request on its way. `Work` alone changes it."""

    def __init__(self, request: Drawing, job: Job, folder: Path, task_id: str | None) -> None:
        self.id = task_id or uuid.uuid4().hex
        self.request, self.job, self.folder = request, job, folder
        self.key = None if request.initial else equal_settings(job)
        """Equal for tickets that may share a batch. Initial pictures belong to one ticket."""
        first = job.request.seed
        self.remaining = deque(range(first, first + request.n))
        """The seeds that no batch has taken yet."""
        self.pictures: list[Drawn] = []
        self.failures: dict[int, str] = {}
        """Seeds that gave no picture, and why."""
        self.interrupted = False
        """Whether it was ended before all pictures were drawn."""
        self.skipped = False
        """Whether some of its pictures were left as they were, and the next ones were begun."""
        self.cancelled = False
        self.batch: Steps | None = None
        """The batch that draws pictures of this ticket now."""
        self.asked = time.time()
        """When the request came, in seconds since 1970."""
        self.began: float | None = None
        self.future: Future[list[Drawn]] = Future()
        # A future that runs cannot be cancelled by a reader who goes away.
        self.future.set_running_or_notify_cancel()
        self.work: Work | None = None
        self.lock: AbstractContextManager[object] = threading.RLock()
        """Held while the fields change together. `Work` puts its own in place."""

    @property
    def state(self) -> str:
        """One of waiting, running, done, failed and cancelled."""
        if not self.future.done():
            return "waiting" if self.began is None else "running"
        error = self.future.exception()
        return "done" if error is None else "cancelled" if isinstance(error, Cancelled) else "failed"

    @property
    def position(self) -> int:
        """The number of tickets that come before this one."""
        return 0 if self.work is None else self.work.position(self)

    def result(self, timeout: float | None = None) -> list[Drawn]:
        """Return the pictures as soon as all are drawn. Those of an interrupted request are as many as were finished.

        Raises Cancelled, CytosynthError if no picture could be drawn, and TimeoutError.
        """
        return self.future.result(timeout)

    def cancel(self) -> None:
        """Drop what is not drawn yet. `result` raises Cancelled."""
        if self.work is not None:
            self.work.cancel(self)

    def progress(self) -> Progress:
        """Return how far the request is."""
        total = self.request.n
        with self.lock:
            batch, done = self.batch, len(self.pictures) + len(self.failures)
            drawing = total - len(self.remaining) - done if batch else 0
            step, steps = (batch.done, batch.total) if batch else (0, evaluations(self.job))
        fraction = (done + drawing * step / max(1, steps)) / total
        seconds = 0.0 if self.began is None else time.monotonic() - self.began
        return Progress(self, done, step, steps, min(1.0, fraction), seconds)

    def finish(self, error: BaseException | None = None) -> None:
        """Give the result to those who wait for it, and remove the uploaded pictures."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if error is None and self.cancelled:
            error = Cancelled(f"The request {self.id} was cancelled.")
        if error is None and not self.pictures and self.failures:
            seed, reason = next(iter(self.failures.items()))
            error = CytosynthError(
                f"The picture of {self.request.class_name}, seed {seed}",
                found=reason,
                expected="a picture, at least in float32",
                fix="lower the guidance scale, or choose another seed",
            )
        if error is None:
            self.future.set_result(self.pictures)
        else:
            self.future.set_exception(error)
