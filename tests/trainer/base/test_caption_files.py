"""Texts for captions: template files, caption files beside pictures, file names."""

from __future__ import annotations

import pytest

from engine.errors import RequestError
from trainer.base.caption_files import filewords_of, prompt_of, read_templates


def test_a_picture_is_described_by_the_file_beside_it_or_by_its_name(tmp_path):
    (tmp_path / "x.txt").write_text("round, dark, large\n")
    assert filewords_of(tmp_path / "x.png") == "round, dark, large"
    assert filewords_of(tmp_path / "0012-Big_cell-3.png") == "Big cell 3"
    assert prompt_of("cyt_nep_mast") == "cyt nep mast"


def test_templates_are_the_lines_with_text(tmp_path):
    (tmp_path / "t.txt").write_text("a photo of [name]\n\n  [filewords]\n")
    assert read_templates(tmp_path / "t.txt") == ("a photo of [name]", "[filewords]")


def test_byte_order_marks_and_odd_separators_do_not_change_a_prompt(tmp_path):
    (tmp_path / "t.txt").write_bytes("\ufeffa\u2028b\r\nc\x85d\re\vf\ufeff\n\ufeff\n".encode())
    assert read_templates(tmp_path / "t.txt") == ("a b", "c d", "e f")
    (tmp_path / "x.CAPTION").write_bytes("round,\u2028dark\r\nlarge\x85\n".encode("utf-16"))
    assert filewords_of(tmp_path / "x.png") == "round, dark large"


@pytest.mark.parametrize(("content", "words"), [(b"\n", "no line"), (b"\xff", "unreadable")])
def test_files_without_text_are_refused(content, words, tmp_path):
    for name in ("empty.txt", "x.txt"):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RequestError, match=words):
        read_templates(tmp_path / "empty.txt")
    if words == "unreadable":
        with pytest.raises(RequestError, match=r"The caption .*x\.txt"):
            filewords_of(tmp_path / "x.png")
