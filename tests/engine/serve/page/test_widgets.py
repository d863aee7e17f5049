"""Widgets that are built from settings: labels, help, ranges, defaults, and what is read from them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, fields

import gradio as gr
import pytest

from engine.bundle.settings import GuidanceSettings, HiresSettings, PictureSettings, SamplingSettings
from engine.errors import RequestError
from engine.initial.settings import InitialSettings
from engine.options import Range, help_of, setting
from engine.serve.page.widgets import Widgets, label_of


@dataclass(frozen=True)
class Example:
    plain: int = setting(3, help="A number.", within=Range(1, 64))
    wide: int = setting(3, help="A number.", within=Range(1, 4096))
    maybe: float | None = setting(None, help="A number, instead of --hires-scale.", within=Range(0, 1))
    word: str | None = setting(None, help="A word", choices=("a", "b"))
    sides: tuple[int, int, int, int] | None = setting(None, help="Sides.", metavar="L T R B")
    switch: bool = setting(True, help="A switch.")
    text: str | None = setting(None, flag="--other-name", help="A text.")


def widgets(kind, *names, **more):
    """Return widgets. Without a running loop Gradio would open one and leave it open."""

    async def make():
        with gr.Blocks(analytics_enabled=False):
            return Widgets(kind, names, **more)

    return asyncio.run(make())


@pytest.mark.slow
def test_every_setting_of_a_request_has_widgets_with_its_help():
    for kind in (SamplingSettings, GuidanceSettings, PictureSettings, HiresSettings, InitialSettings):
        for declared in fields(kind):
            made = widgets(kind, declared.name)
            assert made.components, declared.name
            assert label_of(declared) in made.components[0].label


def test_help_range_and_default_come_from_the_declaration():
    made = widgets(Example, "plain", "wide", "maybe", "word", "switch", "text")
    slider, number, maybe, word, switch, text = made.components
    assert (slider.minimum, slider.maximum, slider.value) == (1, 64, 3)
    assert isinstance(slider, gr.Slider)
    assert isinstance(number, gr.Number)
    assert slider.info == help_of(fields(Example)[0])
    assert '"Hires scale"' in maybe.info
    assert [value for _, value in word.choices] == ["", "a", "b"]
    assert (switch.value, text.label) == (True, "Other name")


def test_values_are_those_of_the_fields():
    made = widgets(Example, "plain", "maybe", "word", "sides", "switch", "text")
    given = [5, "0.5", "a", "1", "2", "3", "4", False, "x"]
    wanted = {"plain": 5, "maybe": 0.5, "word": "a", "sides": (1, 2, 3, 4), "switch": False, "text": "x"}
    assert made.values(given) == wanted
    nothing = made.values([5, "", "", "", "", "", "", True, ""])
    assert nothing == {"plain": 5, "maybe": None, "word": None, "sides": None, "switch": True, "text": None}


@pytest.mark.parametrize("text", ["x", "nan", "inf", "1e999"])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(RequestError, match="Maybe"):
        widgets(Example, "maybe").values([text])


def test_a_tuple_needs_all_its_numbers_and_whole_ones():
    made = widgets(Example, "sides")
    for given in (["1", "", "", ""], ["1", "2", "3", "4.5"]):
        with pytest.raises(RequestError, match="Sides"):
            made.values(given)


def test_a_whole_number_beyond_floats_stays_exact():
    assert widgets(SamplingSettings, "num_inference_steps").values([str(2**60 + 1)]) == {
        "num_inference_steps": 2**60 + 1
    }
