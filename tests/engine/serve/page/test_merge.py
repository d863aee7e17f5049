"""The tab Merge."""

from __future__ import annotations

import gradio as gr
import numpy as np
import pytest
from safetensors.numpy import save_file

from engine.serve.page import context, merge, merges
from engine.serve.page.context import Page
from engine.serve.page.merges import Merges
from engine.serve.page.trainings import Trainings
from engine.serve.sdapi.options import Options


@pytest.fixture
def page(service, tmp_path):
    merges_of = Merges(tmp_path / "checkpoints")
    return Page(service, tmp_path, Trainings(service, tmp_path / "trainings"), merges_of, Options(service))


def event(blocks, elem_id):
    """Return the function of the event of a component."""
    component = next(one for one in blocks.blocks.values() if one.elem_id == elem_id)
    return next(one.fn for one in blocks.fns.values() if (component._id, "click") in one.targets)


class Printed:
    """A command that has ended, which printed a line with the folder of the checkpoints."""

    running = False

    def __init__(self, words, log):
        self.succeeded = "no-interpolation" in words
        self._line = f"error: The checkpoints of {log.parent}/a.safetensors"

    def last_lines(self):
        return self._line


def test_the_tab_shows_what_the_merger_prints_without_folders(page, service, monkeypatch):
    folder = service.settings.data / "checkpoints"
    page.merges = Merges(folder)
    monkeypatch.setattr(merges, "Child", Printed)
    for name in "ab":
        save_file({"model.x": np.zeros(2, np.float32)}, folder / f"{name}.safetensors")
    with gr.Blocks() as blocks:
        merge.add(page)
    begin = event(blocks, "merge-start")
    with pytest.raises(gr.Error, match="Checkpoint B"):
        begin("weighted-sum", "a.safetensors", None, None, 0.3, False, "new")
    words, printed, _, first, *_ = begin("weighted-sum", "a.safetensors", "b.safetensors", None, 0.3, False, " new ")
    assert "**new.safetensors** ended before its end" in words
    assert printed == "error: The checkpoints of a.safetensors"
    assert first["choices"] == ["a.safetensors", "b.safetensors"]
    # What the menus of hidden checkpoints still hold is not asked for.
    words, *_ = begin("no-interpolation", "a.safetensors", "b.safetensors", "gone", 0.3, False, "new")
    assert "**new.safetensors** is merged" in words


def test_the_tab_is_hidden_without_the_trainer(page, monkeypatch):
    monkeypatch.setattr(merge, "installed", lambda part: False)
    with gr.Blocks() as blocks:
        merge.add(page)
    assert blocks.blocks == {}
    assert context.installed("trainer")


def test_a_method_shows_the_checkpoints_that_it_takes():
    shown = {method: [one["visible"] for one in merge._visible(method)] for method in merge.INPUTS}
    assert shown == {
        "weighted-sum": [True, False, True],
        "add-difference": [True, True, True],
        "no-interpolation": [False, False, False],
    }


@pytest.mark.soak
def test_two_checkpoints_are_merged_in_the_browser(wide, site, tmp_path):
    visit = wide()
    for name, folder in (("one", site.data / "checkpoints"), ("two", tmp_path)):
        save_file({"model.x": np.ones(4, np.float32)}, folder / f"{name}.safetensors")
    visit.open("Merge")
    visit.drop("merge-file", tmp_path / "two.safetensors")
    visit.see("merge-status", "two.safetensors is added")
    for letter, name in (("a", "one"), ("b", "two")):
        visit.page.locator(f"#merge-{letter} input").click()
        visit.page.locator(f"#merge-{letter}").get_by_role("option", name=f"{name}.safetensors").click()
    visit.page.locator("#merge-name textarea, #merge-name input").first.fill("both")
    visit.page.locator("#merge-start").click()
    visit.see("merge-status", "both.safetensors is merged")
    assert (site.data / "checkpoints/both.safetensors").is_file()
    assert visit.wrong == []
    visit.page.close()
