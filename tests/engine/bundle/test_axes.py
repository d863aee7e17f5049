"""Axes of grids: values as lists and as the ranges of AUTOMATIC1111's X/Y/Z plot."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.bundle.axes import parse_axis, settings_at
from engine.bundle.settings import settings_of
from engine.errors import RequestError


def values(text):
    axis = parse_axis("--x", text)
    return [next(iter(value.fields.values())) for value in axis.values]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("steps=8,12, 20", [8, 12, 20]),
        ("steps=1-5", [1, 2, 3, 4, 5]),
        ("steps=1-9(+2)", [1, 3, 5, 7, 9]),
        ("steps=9-1(-2)", [9, 7, 5, 3]),
        ("steps=1-10[5]", [1, 3, 5, 7, 10]),
        ("steps=1-3, 10", [1, 2, 3, 10]),
        ("cfg scale=1-2(+0.5)", [1.0, 1.5, 2.0]),
        ("strength=0.5-0.75(+0.125)", [0.5, 0.625, 0.75]),
        ("mask_blur=1-2(+0.75)", [1.0, 1.75, 2.5]),
        ("mask_blur=2-1(-0.5)", [2.0, 1.5, 1.0]),
        ("guidance-scale=0-1[3]", [0.0, 0.5, 1.0]),
        ("--guidance-scale=2,.5", [2.0, 0.5]),
        ("sampler=euler, dpmpp_2m", ["euler", "dpmpp_2m"]),
        ('prompt="a, b",c', ["a, b", "c"]),
        ("guidance_interval=0.5 6,0 1e6", [(0.5, 6.0), (0.0, 1e6)]),
        ("shared-noise=true,false", [True, False]),
        ("batch_size=1,auto", [1, "auto"]),
        ('expand="8,0,8,0","0,0,0,8"', [(8, 0, 8, 0), (0, 0, 0, 8)]),
        ("init=a.png,b.png", [Path("a.png"), Path("b.png")]),
        ("Schedule type=karras", ["karras"]),
        ("denoising=0.2,0.4", [0.2, 0.4]),
    ],
)
def test_values(text, wanted):
    assert values(text) == wanted


def test_size_class_and_replacement():
    size = parse_axis("--y", "size=32x48").values[0]
    assert size.fields == {"width": 32, "height": 48}
    assert [value.class_name for value in parse_axis("--z", "class=a,b").values] == ["a", "b"]
    assert [value.replaced for value in parse_axis("--x", "Prompt S/R=dark,light").values] == [
        ("dark", "dark"),
        ("dark", "light"),
    ]
    assert parse_axis("--x", "precision=f32").slowness > parse_axis("--x", "class=a").slowness > size_axis().slowness
    assert parse_axis("--x", "steps=1").slowness == 0


def size_axis():
    return parse_axis("--y", "size=32x48")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("steps", "no values"),
        ("steps=", "no values"),
        ("shape=1", "--x shape"),
        ("steps=8,many", "--x steps=many"),
        ("steps=0.5", "--x steps=0.5"),
        ("steps=5-1", "--x steps=5-1"),
        ("steps=1-5(+0)", "--x steps=1-5"),
        ("seed=0-999999999", "more than 1000"),
        ("seed=-1", "--x seed=-1"),
        ("sampler=euler,hein", "--x sampler=hein: --sampler"),
        ("strength=0.5,1.5", "--x strength=1.5: --strength"),
        ("size=32", "--x size=32"),
        ("steps=8,08", "8 twice"),
        ("guidance_interval=5", "2 numbers"),
        ("shared_noise=maybe", "true or false"),
        ('prompt="a', "no values"),
    ],
)
def test_a_wrong_axis_is_named_with_its_value(text, words):
    with pytest.raises(RequestError) as caught:
        parse_axis("--x", text)
    assert words in str(caught.value)


def test_settings_change_at_the_values_of_all_axes():
    settings = settings_of(prompt="dark cell", negative_prompt="dark", seed=4)
    chosen = [parse_axis("--x", "steps=8").values[0], parse_axis("--y", "prompt_replace=dark,light").values[1]]
    found = settings_at(settings, chosen, "own")
    assert (found.sampling.num_inference_steps, found.sampling.seed) == (8, 4)
    assert (found.picture.prompt, found.picture.negative_prompt) == ("light cell", "light")
    own = settings_at(settings_of(), chosen, "a dark nucleus")
    assert (own.picture.prompt, own.picture.negative_prompt) == ("a light nucleus", None)
    with pytest.raises(RequestError, match="no 'dark'"):
        settings_at(settings_of(), chosen, "own")
