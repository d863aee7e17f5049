"""What the tabs share: errors in the engine's words, without folders of this machine."""

from __future__ import annotations

import gradio as gr
import pytest

from engine.errors import RequestError
from engine.serve.page.context import Page
from engine.serve.page.merges import Merges
from engine.serve.page.trainings import Trainings
from engine.serve.sdapi.options import Options


@pytest.fixture
def page(service, tmp_path):
    merges = Merges(tmp_path / "checkpoints")
    return Page(service, tmp_path, Trainings(service, tmp_path / "trainings"), merges, Options(service))


def test_an_error_of_the_engine_is_shown_as_text_without_folders(page, service):
    def fail():
        where = service.settings.data / "page" / "0123" / "x.png"
        raise RequestError(f"The picture {where}", found="<b>", expected="a picture", fix="drop another")

    with pytest.raises(gr.Error) as caught:
        page.guarded(fail)()
    assert "The picture x.png" in caught.value.message
    assert "&lt;b&gt;" in caught.value.message
    assert str(service.settings.data) not in caught.value.message


def test_an_error_of_a_generator_is_shown_too_and_another_exception_is_not(page):
    def fail(kind):
        yield 1
        raise kind("secret")

    steps = page.guarded(fail)(KeyError)
    assert next(steps) == 1
    with pytest.raises(KeyError):
        next(steps)


def test_a_class_that_is_not_served_is_refused(page):
    with pytest.raises(RequestError, match="choose a class"):
        page.chosen("none")


def test_menus_begin_with_the_class_of_the_options(page):
    page.options.change({"sd_model_checkpoint": "cyt_nep_mast"})
    assert page.default_class.endswith("cyt_nep_mast")
