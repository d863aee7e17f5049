"""How a long task reports its progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["Progress", "StageProgress", "silent", "silent_stages"]

StageProgress = Callable[[str], None]
"""A function that a long task calls with one line of text at each stage."""


class Progress(Protocol):
    """A function that a long task calls after each unit of work."""

    def __call__(
        self, task: str, done: int, total: int, loss: float | None = None, rate: float | None = None, /
    ) -> None:
        """Report `done` of `total` units of a named task, and the loss and learning rate if the task is a training."""
        ...


def silent(task: str, done: int, total: int, loss: float | None = None, rate: float | None = None, /) -> None:
    """Ignore the report."""


def silent_stages(stage: str, /) -> None:
    """Ignore the report."""
