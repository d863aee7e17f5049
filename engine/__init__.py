"""A lean runtime that mass-produces synthetic stained cells: no torch, one inference runtime."""

from engine.datasets import ChunkShuffle, SyntheticCells
from engine.guard import expect_real
from engine.library import Batch, Engine

__all__ = ["Batch", "ChunkShuffle", "Engine", "SyntheticCells", "expect_real"]
