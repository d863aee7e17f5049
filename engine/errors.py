"""Errors that name the subject, what was found, what was expected, and the mend."""

from __future__ import annotations

__all__ = ["CytosynthError", "RequestError", "first_line"]


class CytosynthError(Exception):
    """Something failed while running; command lines exit 1."""

    exit_code = 1

    def __init__(self, subject: str, *, found: str, expected: str, mend: str) -> None:
        self.subject, self.found, self.expected, self.mend = subject, found, expected, mend
        super().__init__(f"{subject}\n  found:    {found}\n  expected: {expected}\n  mend:     {mend}")


class RequestError(CytosynthError):
    """The request is wrong; nothing was loaded or touched; command lines exit 2."""

    exit_code = 2


def first_line(error: Exception) -> str:
    """What a library's exception says, in one line; its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
