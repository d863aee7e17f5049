"""Values that change with the training step: the WebUI's `rate:step` lists, and warm-up with cosine decay."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from engine.errors import RequestError

__all__ = ["Cosine", "Schedule", "StepList", "parse_steps"]


class Schedule(Protocol):
    """A value for each step of a training."""

    def at(self, step: int, steps: int) -> float:
        """The value at a 0-based step of so many."""
        ...


@dataclass(frozen=True)
class Cosine:
    """Rises linearly to `peak` over `warmup` steps, then falls as a cosine to `final_share` of it."""

    peak: float
    warmup: int = 50
    final_share: float = 0.05

    def at(self, step: int, steps: int) -> float:
        """See Schedule."""
        if step < self.warmup:
            return self.peak * (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, steps - self.warmup)
        return self.peak * (self.final_share + (1 - self.final_share) * 0.5 * (1 + math.cos(math.pi * progress)))


@dataclass(frozen=True)
class StepList:
    """Pairs (value, step): the value holds for steps before that one. After the last pair's step nothing changes."""

    pairs: tuple[tuple[float, float], ...]

    def at(self, step: int, steps: int) -> float:
        """See Schedule."""
        return next((value for value, until in self.pairs if step < until), self.pairs[-1][0])


def parse_steps(flag: str, text: str) -> StepList:
    """Read `0.005:100, 1e-3:1000, 1e-5`: each value until its step; the last may lack one, and -1 is the end.

    Raises RequestError for what is no such list: a value that is not above 0, steps that do not rise, or anything
    behind an end.
    """
    pairs: list[tuple[float, float]] = []

    def wrong(found: str) -> RequestError:
        expected = "value:step, value:step, ... with rising steps; the last step may be left out or -1"
        return RequestError(flag, found=f"{found} in {text!r}", expected=expected, fix="write it as in 1e-4:500, 1e-5")

    for part in text.split(","):
        value_text, colon, step_text = (piece.strip() for piece in part.partition(":"))
        if pairs and pairs[-1][1] == math.inf:
            raise wrong(f"{part.strip()!r} behind the end")
        try:
            value, until = float(value_text), float(int(step_text)) if colon else math.inf
        except ValueError:
            raise wrong(repr(part.strip())) from None
        if not 0 < value < math.inf:
            raise wrong(f"the value {value_text}")
        until = math.inf if until == -1 else until
        if until <= (pairs[-1][1] if pairs else 0):
            raise wrong(f"the step {step_text}")
        pairs.append((value, until))
    return StepList(tuple(pairs))
