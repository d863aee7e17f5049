"""What visitors drop is checked before anything is made of it."""

from __future__ import annotations

import gradio as gr
import pytest
from PIL import Image

from engine.errors import RequestError
from engine.serve.page.uploads import expect_picture, pictures_field


def test_several_pictures_may_be_dropped():
    with gr.Blocks(analytics_enabled=False):
        field = pictures_field("Drop pictures", height=100, elem_id="drop")
    assert (field.file_count, field.file_types, field.elem_id) == ("multiple", ["image"], "drop")


def test_only_files_that_are_pictures_are_taken(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "cell.png")
    expect_picture(tmp_path / "cell.png")
    (tmp_path / "cell.txt").write_text("no picture")
    with pytest.raises(RequestError, match=r"cell\.txt\s+found:\s+another format"):
        expect_picture(tmp_path / "cell.txt")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(RequestError, match=r"broken\.png"):
        expect_picture(tmp_path / "broken.png")
