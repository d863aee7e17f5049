"""What visitors drop is checked before anything is made of it."""

from __future__ import annotations

import gradio as gr
import pytest
from PIL import Image

from engine.errors import RequestError
from engine.serve.page.uploads import dropped, pictures_field


def test_several_pictures_may_be_dropped():
    with gr.Blocks(analytics_enabled=False):
        field = pictures_field("Drop pictures", height=100, elem_id="drop")
    assert (field.file_count, field.file_types, field.elem_id) == ("multiple", ["image"], "drop")


def test_only_files_that_are_pictures_are_taken(tmp_path):
    Image.new("RGB", (4, 6)).save(tmp_path / "cell.PNG")
    (one,) = dropped([tmp_path / "cell.PNG"], "Train")
    assert (one.stem, one.picture.size) == ("cell", (4, 6))
    copy = one.copy_to(tmp_path, "000")
    assert (copy.name, copy.read_bytes()) == ("000.png", (tmp_path / "cell.PNG").read_bytes())
    (tmp_path / "cell.txt").write_text("no picture")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    for paths, words in (
        (None, r"Train\s+found:\s+no picture"),
        ([str(tmp_path / "cell.txt")], r"cell\.txt\s+found:\s+another format"),
        ([tmp_path / "cell.PNG", tmp_path / "broken.png"], r"broken\.png"),
    ):
        with pytest.raises(RequestError, match=words):
            list(dropped(paths, "Train"))
