"""A lean runtime that mass-produces synthetic stained cells: no torch, one inference runtime."""

import engine.installation

import engine.privacy  # noqa: F401  # isort: skip  (before any library that could report its use)

from importlib import import_module
from typing import TYPE_CHECKING, Any

from engine.version import __version__

if TYPE_CHECKING:
    from engine.api.datasets import ChunkShuffle, SyntheticCells
    from engine.api.engine import Batch, Engine
    from engine.api.guard import expect_real
else:
    # A command line, and the parts that use a few modules of the engine, start without the library.
    _PLACES = {
        "Batch": "engine.api.engine",
        "ChunkShuffle": "engine.api.datasets",
        "Engine": "engine.api.engine",
        "SyntheticCells": "engine.api.datasets",
        "expect_real": "engine.api.guard",
    }

    def __getattr__(name: str) -> Any:
        """Import a public name when it is used for the first time."""
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_PLACES[name]), name)


__all__ = ["Batch", "ChunkShuffle", "Engine", "SyntheticCells", "__version__", "expect_real"]
