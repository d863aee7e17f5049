"""Chunks and pieces of a run: every chunk belongs to one piece."""

from __future__ import annotations

import pytest

from engine.errors import RequestError
from engine.output.chunks import Chunks, Piece, parse_piece


@pytest.mark.parametrize("of", [1, 2, 3, 7, 50])
def test_pieces_cover_every_chunk_once(of):
    pieces = [Chunks([5, 1, 12], 4, Piece(number, of)) for number in range(1, of + 1)]
    covered = [chunk for piece in pieces for chunk in range(piece.first, piece.stop)]
    assert covered == list(range(pieces[0].count)) == list(range(6))
    assert sum(piece.done_here(piece.stop) for piece in pieces) == 18


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3", "1/3/5", "²/3"])
def test_what_is_no_piece_is_refused(text):
    with pytest.raises(RequestError, match="--shard"):
        parse_piece(text)
