"""One progress for all stages, with the time that is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

from engine.progress import Progress

__all__ = ["Overall", "duration_words"]

PARTS = 1000
LEAST_SECONDS = 10.0
"""Before this time, the speed of the machine is not known well enough to state the time left."""


class Overall:
    """Progress over stages whose costs are estimated in advance. The measured speed corrects the estimate."""

    def __init__(self, costs: Mapping[str, float], show: Progress, clock: Callable[[], float] = time.monotonic) -> None:
        """costs: seconds of each stage that is still to do, on any one machine, in order."""
        self._costs, self._show, self._clock = dict(costs), show, clock
        self._total = sum(costs.values())
        self._began, self._finished = clock(), 0.0

    def stage(self, name: str) -> Progress:
        """Return the progress of one stage. Its task names are replaced by the name of the stage."""
        self._report(name, 0.0, None)
        return partial(self._update, name)

    def _update(
        self, name: str, task: str, done: int, total: int, loss: float | None = None, rate: float | None = None, /
    ) -> None:
        self._report(name, done / max(1, total), loss)

    def finish(self, name: str) -> None:
        """Count a stage as done."""
        self._finished += self._costs.pop(name, 0.0)

    def seconds_left(self, name: str, fraction: float) -> float | None:
        """Return the estimate, or None if there is none yet. fraction: of the stage `name`, which is running."""
        done = self._finished + fraction * self._costs.get(name, 0.0)
        spent = self._clock() - self._began
        return None if done <= 0 or spent < LEAST_SECONDS else spent * (self._total - done) / done

    def elapse(self, name: str, since: float) -> None:
        """Advance a stage that reports nothing itself by its estimated share of time. since: its start."""
        speed = self._finished / max(1e-9, since - self._began) if self._finished else 1.0
        expected = max(1e-9, self._costs.get(name, 1.0) / max(speed, 1e-9))
        self._report(name, min(0.95, (self._clock() - since) / expected), None)

    def _report(self, name: str, fraction: float, loss: float | None) -> None:
        done = self._finished + fraction * self._costs.get(name, 0.0)
        left = self.seconds_left(name, fraction)
        words = name if left is None else f"{name}, about {duration_words(left)} left"
        self._show(words, min(PARTS, int(PARTS * done / max(1e-9, self._total))), PARTS, loss)


def duration_words(seconds: float) -> str:
    """Return a duration in words, rounded up to what a reader needs."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = -(-seconds // 60)
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
