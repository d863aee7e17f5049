"""The tab PNG info."""

from __future__ import annotations

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from engine.errors import RequestError
from engine.serve.page.png_info import describe_file


def test_a_picture_of_the_engine_is_called_synthetic_and_states_all(cell):
    words, parameters, facts = describe_file(cell)
    assert "synthetic" in words
    assert "Seed: 0" in parameters
    assert facts["class"] == "cyt_mast"


def test_a_picture_of_a_web_ui_is_read(tmp_path):
    info = PngInfo()
    info.add_text("parameters", "a cell\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", pnginfo=info)
    _, _, facts = describe_file(tmp_path / "a.png")
    assert (facts["prompt"], facts["Sampler"]) == ("a cell", "Euler a")


def test_a_plain_picture_states_nothing_and_another_file_is_refused(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "plain.png")
    assert describe_file(tmp_path / "plain.png")[1:] == ("", {})
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(RequestError, match="unreadable"):
        describe_file(tmp_path / "text.png")


def test_a_dropped_picture_shows_its_text(visit, cell):
    visit.open("PNG info")
    visit.drop("png-info-file", cell)
    visit.see("png-info-said", "synthetic")
    assert "Seed: 0" in visit.page.locator("#png-info-text textarea").input_value()
