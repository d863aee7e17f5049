"""Values that change with the training step: lists of `rate:step` as in the WebUI, and warm-up with cosine decay."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from engine.errors import RequestError

__all__ = ["Cosine", "Schedule", "StepList", "constant", "parse_steps"]


class Schedule(Protocol):
    """A value for each step of a training."""

    def at(self, step: int, steps: int) -> float:
        """Return the value at `step`, counted from 0, of a training of `steps` steps."""
        ...


@dataclass(frozen=True)
class Cosine:
    """Rises linearly to `peak` over `warmup` steps, then falls along a cosine to `final_share * peak`."""

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
    """Pairs (value, step): each value holds for the steps before its step. The last value also holds afterwards."""

    pairs: tuple[tuple[float, float], ...]

    def at(self, step: int, steps: int) -> float:
        """See Schedule."""
        return next((value for value, until in self.pairs if step < until), self.pairs[-1][0])

    def __str__(self) -> str:
        """Return the text that `parse_steps` reads."""
        return ",".join(f"{value:g}" if until == math.inf else f"{value:g}:{until:g}" for value, until in self.pairs)


def constant(value: float) -> StepList:
    """Return the schedule that always has this value."""
    return StepList(((value, math.inf),))


def parse_steps(flag: str, text: str) -> StepList:
    """Read `0.005:100, 1e-3:1000, 1e-5`: each value holds until its step. The last step may be missing or -1.

    flag: the option that the text comes from, for the error.
    Raises RequestError if a value is not above 0, if the steps do not rise, or if anything follows the last value.
    """
    pairs: list[tuple[float, float]] = []

    def wrong(found: str) -> RequestError:
        expected = "value:step, value:step, ... with rising steps; the last step may be left out or -1"
        return RequestError(
            flag, found=f"{found} in {text!r}", expected=expected, fix="write, for example, 1e-4:500,1e-5"
        )

    for part in text.split(","):
        value_text, colon, step_text = (piece.strip() for piece in part.partition(":"))
        if pairs and pairs[-1][1] == math.inf:
            raise wrong(f"{part.strip()!r} after the last value")
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
