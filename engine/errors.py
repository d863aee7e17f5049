"""Errors that name the subject, what was found, what was expected, and the fix."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["CytosynthError", "RequestError", "first_line"]


class CytosynthError(Exception):
    """Something failed while running; command lines exit 1."""

    exit_code = 1

    def __init__(self, subject: str, *, found: str, expected: str, fix: str) -> None:
        self.subject, self.found, self.expected, self.fix = subject, found, expected, fix
        super().__init__(f"{subject}\n  found:    {found}\n  expected: {expected}\n  fix:      {fix}")

    def __reduce__(self) -> tuple[Callable[..., CytosynthError], tuple[type[CytosynthError], dict[str, str]]]:
        # An exception is copied by its positional arguments, which are not those of this one.
        return _again, (type(self), vars(self))


class RequestError(CytosynthError):
    """The request is wrong; nothing was loaded or touched; command lines exit 2."""

    exit_code = 2


def _again(kind: type[CytosynthError], words: dict[str, str]) -> CytosynthError:
    return kind(**words)


def first_line(error: Exception) -> str:
    """What a library's exception says, in one line; its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
