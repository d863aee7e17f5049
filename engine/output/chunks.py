"""The cutting of a run into chunks of pictures, and into pieces that different processes make."""

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
"""Name of the folder, inside the folder of a run, that holds its pieces."""


@dataclass(frozen=True)
class Piece:
    """Piece `number` of `of` pieces of a run, counted from 1."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def folder(self, out: Path) -> Path:
        """Return the folder of this piece until the pieces are joined."""
        return out / PIECES / f"{self.number:06d}-of-{self.of:06d}"


def parse_piece(text: str) -> Piece:
    """Return the piece that a text such as "3/16" names. Raises RequestError."""
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise RequestError(
            "--shard",
            found=text,
            expected="K/N with K from 1 to N, for example 3/16",
            fix="number the array jobs from 1",
        )
    return Piece(int(found[1]), int(found[2]))


class Chunks:
    """The chunks of a run: `batch_size` pictures each, class by class, by absolute index.

    The chunks from `first` up to, but not including, `stop` are made here.
    """

    def __init__(self, counts: Sequence[int], batch_size: int, piece: Piece | None = None) -> None:
        """counts: number of pictures of each class, all above 0. piece: the part of the run to make here."""
        self.batch_size = batch_size
        self._counts = tuple(counts)
        self._firsts = [0, *accumulate(-(-n // batch_size) for n in counts)]
        self.count = self._firsts[-1]
        piece = piece or Piece(1, 1)
        self.first = self.count * (piece.number - 1) // piece.of
        self.stop = self.count * piece.number // piece.of

    def position(self, chunk: int) -> int:
        """Return the index of the class of a chunk."""
        return bisect_right(self._firsts, chunk) - 1

    def end(self, position: int) -> int:
        """Return the first chunk after the chunks of the class with this index."""
        return self._firsts[position + 1]

    def start(self, chunk: int) -> int:
        """Return the index of the first picture of a chunk in its class."""
        return (chunk - self._firsts[self.position(chunk)]) * self.batch_size

    def size(self, chunk: int) -> int:
        """Return the number of pictures of a chunk. The last chunk of a class may be short."""
        return min(self.batch_size, self._counts[self.position(chunk)] - self.start(chunk))

    def pictures_before(self, chunk: int) -> int:
        """Return the number of pictures of all chunks before this one, which may be the end."""
        return sum(self._counts[: self.position(chunk)]) + self.start(chunk)

    def done_here(self, chunk: int) -> int:
        """Return the number of pictures of the chunks from `first` up to, but not including, this one."""
        return self.pictures_before(chunk) - self.pictures_before(self.first)
