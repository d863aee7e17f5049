"""How a run is cut: into chunks of pictures, and into pieces that different processes make."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from engine.errors import RequestError

__all__ = ["PIECES", "Chunks", "Piece", "parse_piece"]

PIECES = "pieces"
"""The folder of a run's pieces, in its own."""


@dataclass(frozen=True)
class Piece:
    """Piece `number`, from 1, of a run that is made in `of` pieces."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def folder(self, out: Path) -> Path:
        """Where it lies until the pieces are joined."""
        return out / PIECES / f"{self.number:06d}-of-{self.of:06d}"


def parse_piece(text: str) -> Piece:
    """From "3/16". Raises RequestError."""
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise RequestError(
            "--shard", found=text, expected="K/N, K from 1 to N, such as 3/16", fix="count array jobs from 1"
        )
    return Piece(int(found[1]), int(found[2]))


class Chunks:
    """The fixed cutting of a run: `batch_size` pictures each, class by class, by absolute index; and which of them are
    made here, those from `first` to before `stop`."""

    def __init__(self, counts: Sequence[int], batch_size: int, piece: Piece | None = None) -> None:
        """counts: the pictures of each class, all above 0. piece: one of several about equal parts of the run."""
        self.batch_size = batch_size
        self._counts = tuple(counts)
        self._firsts = [0, *accumulate(-(-n // batch_size) for n in counts)]
        self.count = self._firsts[-1]
        piece = piece or Piece(1, 1)
        self.first = self.count * (piece.number - 1) // piece.of
        self.stop = self.count * piece.number // piece.of

    def position(self, chunk: int) -> int:
        """The place of the chunk's class."""
        return bisect_right(self._firsts, chunk) - 1

    def end(self, position: int) -> int:
        """The first chunk behind those of the class at this place."""
        return self._firsts[position + 1]

    def start(self, chunk: int) -> int:
        """Index of the chunk's first picture in its class."""
        return (chunk - self._firsts[self.position(chunk)]) * self.batch_size

    def size(self, chunk: int) -> int:
        """Pictures of the chunk; the last of a class may be short."""
        return min(self.batch_size, self._counts[self.position(chunk)] - self.start(chunk))

    def pictures_before(self, chunk: int) -> int:
        """Pictures of all chunks before this one, which may be the end."""
        return sum(self._counts[: self.position(chunk)]) + self.start(chunk)

    def done_here(self, chunk: int) -> int:
        """Pictures of the chunks from `first` to before this one."""
        return self.pictures_before(chunk) - self.pictures_before(self.first)
