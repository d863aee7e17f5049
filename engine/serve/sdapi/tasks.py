"""The latest requests by their task id, for clients that ask about one of them."""

from __future__ import annotations

from collections import deque

__all__ = ["Tasks"]

REMEMBERED = 64
"""Number of task ids of which it is known later that they are completed."""


class Tasks:
    """The ids of the latest requests."""

    def __init__(self) -> None:
        self._ids: deque[str] = deque(maxlen=REMEMBERED)

    def note(self, task_id: str) -> None:
        """Remember a request."""
        self._ids.append(task_id)

    def __contains__(self, task_id: str) -> bool:
        """Whether there was a request with this id."""
        return task_id in self._ids
