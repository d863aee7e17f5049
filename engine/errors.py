"""Errors that name the subject, what was found, what was expected, and the fix."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["CytosynthError", "RequestError", "first_line"]


class CytosynthError(Exception):
    """A failure while running. Command lines exit 1."""

    exit_code = 1

    def __init__(self, subject: str, *, found: str, expected: str, fix: str) -> None:
        self.subject, self.found, self.expected, self.fix = subject, found, expected, fix
        super().__init__(f"{subject}\n  found:    {found}\n  expected: {expected}\n  fix:      {fix}")

    def __reduce__(self) -> tuple[Callable[..., CytosynthError], tuple[type[CytosynthError], dict[str, str]]]:
        # pickle would pass an exception's single text as a positional argument; this class takes four keywords.
        return _again, (type(self), vars(self))


class RequestError(CytosynthError):
    """A wrong request. Nothing was loaded or changed. Command lines exit 2."""

    exit_code = 2


def _again(kind: type[CytosynthError], words: dict[str, str]) -> CytosynthError:
    return kind(**words)


def first_line(error: Exception) -> str:
    """Return the first line of an exception's text, or the name of its class if the text is empty."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
