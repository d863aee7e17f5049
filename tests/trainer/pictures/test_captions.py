"""Text files of a user: encodings, separators and marks that nobody sees."""

from __future__ import annotations

import pytest

from engine.errors import RequestError
from trainer.pictures.captions import caption_of, one_line, read_text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_text_with_a_byte_order_mark_is_the_text(encoding, tmp_path):
    (tmp_path / "x.txt").write_bytes("Zelle mit Körnung".encode(encoding))
    assert read_text(tmp_path / "x.txt", "caption") == "Zelle mit Körnung"


@pytest.mark.parametrize("content", ["mast cell".encode("utf-16-le"), "Körnung".encode("latin-1"), b"a\x07b"])
def test_an_encoding_that_nothing_names_is_refused(content, tmp_path):
    (tmp_path / "x.txt").write_bytes(content)
    with pytest.raises(RequestError, match=r"x\.txt") as caught:
        read_text(tmp_path / "x.txt", "caption")
    assert caught.value.fix == "save the file as UTF-8"


@pytest.mark.parametrize(
    "separator", ["\n", "\r\n", "\r", "\t", "\v", "\f", "\x85", "\u2028", "\u2029", "\xa0", " \u3000 "]
)
def test_every_separator_is_one_space(separator):
    assert one_line(f"{separator}mast{separator}cell{separator}") == "mast cell"


@pytest.mark.parametrize("letter", ["\ufeff", "\u200b", "\u2060", "\u00ad"])
def test_letters_that_nobody_sees_go(letter):
    assert one_line(f"{letter}mast{letter} cell{letter}") == "mast cell"


@pytest.mark.parametrize("ending", [".txt", ".TXT", ".caption", ".Caption"])
def test_a_caption_has_the_name_of_its_picture(ending, tmp_path):
    (tmp_path / f"cell[1].2{ending}").write_text("round")
    (tmp_path / f"cell[1]{ending}").write_text("other")
    assert caption_of(tmp_path / "cell[1].2.png") == tmp_path / f"cell[1].2{ending}"
    assert caption_of(tmp_path / "cell.png") is None


def test_two_captions_of_one_picture_are_refused(tmp_path):
    for ending in (".txt", ".caption"):
        (tmp_path / f"x{ending}").write_text("round")
    with pytest.raises(RequestError, match=r"x\.caption, x\.txt"):
        caption_of(tmp_path / "x.png")
