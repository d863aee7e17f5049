"""Errors as clients see them: in four parts, without the paths of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.errors import CytosynthError
from engine.failures import as_cytosynth_error
from engine.serve.public import without_folders

__all__ = ["public_error"]

FAULT = CytosynthError(
    "The server",
    found="a fault of the program",
    expected="pictures",
    fix="look into the log of the server, and report the fault",
)


def public_error(error: Exception, private: Sequence[Path]) -> dict[str, str]:
    """Return subject, found, expected and fix of an error. private: folders whose paths are left out."""
    known = as_cytosynth_error(error) or FAULT
    parts = {"subject": known.subject, "found": known.found, "expected": known.expected, "fix": known.fix}
    return {name: without_folders(words, private) for name, words in parts.items()}
