"""A lean runtime that mass-produces synthetic stained cells: no torch, one inference runtime."""

import engine.installation
import engine.privacy  # noqa: F401  (before any library that could report its use)
from engine.api.datasets import ChunkShuffle, SyntheticCells
from engine.api.engine import Batch, Engine
from engine.api.guard import expect_real
from engine.version import __version__

__all__ = ["Batch", "ChunkShuffle", "Engine", "SyntheticCells", "__version__", "expect_real"]
